/* cli/stats.c: prints the engine's part of --stats, and that a memory limit was met. */
#include <inttypes.h>

#include "cli.h"

static double ms_of(uint64_t ns) {
    return (double)ns / 1e6;
}

static void print_poisonings(FILE *out, const struct husk_stats *stats) {
    const struct {
        const char *cause;
        uint64_t count;
    } rows[] = {{"deadline", stats->poisonings_deadline},
                {"interrupt", stats->poisonings_interrupt},
                {"guest violation", stats->poisonings_guest_violation},
                {"failure of the VM", stats->poisonings_vm_failure},
                {"failed restore", stats->poisonings_restore_failure}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].count != 0)
            fprintf(out, "husk: %" PRIu64 " poisoned by: %s\n", rows[i].count, rows[i].cause);
}

void print_engine_stats(FILE *out, const husk_engine *engine) {
    struct husk_stats stats = HUSK_STATS_INIT;
    char written[32], copied[32];
    husk_engine_stats(engine, &stats);
    format_bytes(stats.snapshot_bytes, written, sizeof written);
    format_bytes(stats.restore_bytes_copied, copied, sizeof copied);
    fprintf(out,
            "husk: %" PRIu64 " calls in %.3f ms (guest %.3f ms, %" PRIu64
            " host calls %.3f ms), %" PRIu64 " memory growths\n",
            stats.calls, ms_of(stats.call_ns), ms_of(stats.call_ns - stats.host_call_ns),
            stats.host_calls, ms_of(stats.host_call_ns), stats.memory_grows);
    fprintf(out,
            "husk: %" PRIu64 " snapshots (%" PRIu64 " pages, %s) in %.3f ms, %" PRIu64
            " restores (%" PRIu64 " pages copied, %s, %" PRIu64
            " aged out) in %.3f ms, hot set %" PRIu64 " pages\n",
            stats.snapshots, stats.snapshot_pages, written, ms_of(stats.snapshot_ns),
            stats.restores, stats.restore_pages_copied, copied, stats.restore_pages_aged,
            ms_of(stats.restore_ns), stats.hot_pages);
    fprintf(out,
            "husk: loads: %" PRIu64 " in place, %" PRIu64 " rebuilt, %" PRIu64
            " with a new VM (%" PRIu64 " of snapshots); %" PRIu64 " unloads, %" PRIu64
            " pool hits, %" PRIu64 " VMs made, %" PRIu64 " alive\n",
            stats.loads_in_place, stats.loads_rebuilt, stats.loads_new_vm,
            stats.loads_from_snapshot, stats.unloads, stats.pool_hits, stats.vms_made, stats.vms);
    print_poisonings(out, &stats);
}

/* A program that gets no memory seldom says so: it traps, or exits with some code. */
void report_memory_limit(const struct report *report, const husk_sandbox *sandbox,
                         uint64_t limit_bytes) {
    struct husk_sandbox_stats stats = HUSK_SANDBOX_STATS_INIT;
    char limit[32], has[32];
    if (report->is_json || limit_bytes == 0 || husk_sandbox_stats(sandbox, &stats) != 0 ||
        stats.memory_refusals == 0)
        return;
    format_bytes(limit_bytes, limit, sizeof limit);
    format_bytes(stats.memory_bytes, has, sizeof has);
    fprintf(stderr,
            "husk %s: memory limit: the program has %s, and was refused more %" PRIu64
            " time%s (--max-memory is %s)\n",
            report->command, has, stats.memory_refusals, stats.memory_refusals == 1 ? "" : "s",
            limit);
}
