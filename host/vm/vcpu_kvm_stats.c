/*
 * host/vm/vcpu_kvm_stats.c: the number of page faults that KVM took for a vCPU, from its binary
 * statistics (api.rst 4.134, KVM_GET_STATS_FD: Linux 5.14; the counter: Linux 5.19). Whatever the
 * guest does that makes a page of the host private begins with such a fault, on any thread.
 *
 * The descriptor is opened when it is asked for first. So a VM that is never restored has none.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "vm_kvm.h"
#include "hot.h"

#define COUNTER "pf_taken"
/* struct kvm_stats_desc and a name; the kernel's names have 48 bytes. */
#define DESCRIPTOR_BYTES_MAX 256u
#define DESCRIPTORS_MAX 1024u

static bool read_at(const struct vcpu *vcpu, void *ret_bytes, size_t count, uint64_t offset) {
    return vcpu->backend->sys->read_at(vcpu->stats_fd, ret_bytes, count, (int64_t)offset) ==
           (int64_t)count;
}

/* Is it the descriptor of the counter? Then its place is set. */
static bool take_descriptor(struct vcpu *vcpu, const struct kvm_stats_header *header,
                            uint32_t idx) {
    union {
        struct kvm_stats_desc desc;
        char bytes[DESCRIPTOR_BYTES_MAX];
    } row;
    const size_t row_bytes = sizeof row.desc + header->name_size;
    if (!read_at(vcpu, &row, row_bytes, header->desc_offset + idx * row_bytes))
        return false;
    const char *name = row.bytes + sizeof row.desc;
    if (strncmp(name, COUNTER, header->name_size) != 0 || row.desc.size != 1)
        return false;
    vcpu->faults_at = (uint64_t)header->data_offset + row.desc.offset;
    return true;
}

static bool find_counter(struct vcpu *vcpu) {
    struct kvm_stats_header header;
    if (!read_at(vcpu, &header, sizeof header, 0) || header.num_desc > DESCRIPTORS_MAX ||
        header.name_size > DESCRIPTOR_BYTES_MAX - sizeof(struct kvm_stats_desc))
        return false;
    for (uint32_t i = 0; i < header.num_desc; i++)
        if (take_descriptor(vcpu, &header, i))
            return true;
    return false;
}

/* KVM does not make this descriptor close-on-exec, and has no flag for it. */
RARE static void stats_open(struct vcpu *vcpu) {
    vcpu->has_asked_stats = true;
    vcpu->stats_fd = vcpu->backend->sys->control(vcpu->vcpu_fd, KVM_GET_STATS_FD, NULL);
    if (vcpu->stats_fd < 0)
        return;
    (void)fcntl(vcpu->stats_fd, F_SETFD, FD_CLOEXEC);
    if (!find_counter(vcpu)) {
        close(vcpu->stats_fd);
        vcpu->stats_fd = -1;
    }
}

HOT uint64_t kvm_vcpu_faults(struct vcpu *vcpu) {
    uint64_t count;
    if (UNLIKELY(!vcpu->has_asked_stats))
        stats_open(vcpu);
    if (UNLIKELY(vcpu->stats_fd < 0) || !read_at(vcpu, &count, sizeof count, vcpu->faults_at))
        return VCPU_FAULTS_UNKNOWN;
    return count;
}
