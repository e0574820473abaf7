/* bench/limit_row.c: prints a row of a table of limits; see limits.h. */
#include "limits.h"

#include <string.h>

void limits_head(const char *title) {
    printf("\n%s\n  %-64s %-11s %10s %10s %10s %10s\n", title, "", "unit", "p10", "median", "p90",
           "limit");
}

/* Small numbers with their fraction, large ones without. */
static int digits_of(double value) {
    return value < 10 ? 2 : value < 1000 ? 1 : 0;
}

void limits_print(const struct bench *bench, const struct limit_row *row) {
    const struct spread spread = row->spread;
    const bool is_reached = spread.p50 <= row->limit;
    const int digits = digits_of(spread.p50);
    printf("  %-64s %-11s %10.*f %10.*f %10.*f", row->name, row->unit, digits, spread.p10, digits,
           spread.p50, digits, spread.p90);
    if (row->limit > 0)
        printf(" %10.*f  %s%s%s%s", digits_of(row->limit), row->limit,
               is_reached ? "reached" : "missed ", row->limit_text != NULL ? " (" : "",
               row->limit_text != NULL ? row->limit_text : "", row->limit_text != NULL ? ")" : "");
    putchar('\n');
    fflush(stdout);
    fputs("{\"bench\":\"limit\",\"name\":", bench->json);
    json_string(bench->json, row->name);
    fputs(",\"unit\":", bench->json);
    json_string(bench->json, row->unit);
    fputc(',', bench->json);
    json_spread(bench->json, "value", spread);
    if (row->limit > 0) {
        fprintf(bench->json, ",\"limit\":%.6g,\"is_reached\":%s", row->limit,
                is_reached ? "true" : "false");
        fputs(",\"limit_text\":", bench->json);
        json_string(bench->json, row->limit_text != NULL ? row->limit_text : "");
    }
    fputs("}\n", bench->json);
    fflush(bench->json);
}
