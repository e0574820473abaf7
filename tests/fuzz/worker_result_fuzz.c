/*
 * Fuzz target: what a compiler's process that was taken over may say: any bytes as the message of
 * its result, or as how it died and what it wrote on standard error. Whatever it says, the error
 * has a status of the list, and a text that ends and has no control characters in it. The first
 * byte chooses, and has the flags of a death.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "worker_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int is_true) {
    if (!is_true)
        abort();
}

static void check_error(int status, const struct husk_error *err) {
    const size_t bytes = strnlen(err->message, sizeof err->message);
    require(status < 0 && err->status == status && bytes < sizeof err->message);
    require(strcmp(husk_status_name(status), husk_status_name(-100000)) != 0);
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)err->message[i];
        require(c >= 0x20 && c != 0x7f);
        require(c != 0xc2 || (unsigned char)err->message[i + 1] < 0x80 ||
                (unsigned char)err->message[i + 1] >= 0xa0);
    }
}

static int read_result(const uint8_t *data, size_t size, const struct husk_compile_options *options,
                       struct husk_error *err) {
    struct worker_message message;
    memset(&message, 0xff, sizeof message);
    memcpy(&message, data, size < sizeof message ? size : sizeof message);
    return worker_result_error(&message, options, err);
}

static int read_death(uint8_t flags, const uint8_t *data, size_t size,
                      const struct husk_compile_options *options, struct husk_error *err) {
    char text[4096];
    uint16_t wait_status = 0;
    if (size >= sizeof wait_status) {
        memcpy(&wait_status, data, sizeof wait_status);
        data += sizeof wait_status, size -= sizeof wait_status;
    }
    const size_t count = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, count);
    text[count] = '\0';
    const struct worker_death death = {.wait_status = (flags & 2) != 0 ? -1 : wait_status,
                                       .cpu_ns = (flags & 4) != 0 ? UINT64_MAX : 0,
                                       .is_over_wall_limit = (flags & 8) != 0,
                                       .was_contained = (flags & 16) != 0,
                                       .stderr_text = text};
    return worker_death_error(&death, options, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct husk_compile_options options;
    struct husk_error err;
    if (options.size == 0)
        require(client_options(NULL, &options, NULL) == 0);
    if (size < 1)
        return 0;
    memset(&err, 0xff, sizeof err);
    const int status = (data[0] & 1) != 0 ? read_death(data[0], data + 1, size - 1, &options, &err)
                                          : read_result(data + 1, size - 1, &options, &err);
    check_error(status, &err);
    return 0;
}
