/*
 * A guest that calls functions of its host: `host.price` looks a price up by name, `host.log`
 * prints a line.
 *
 *   clang --target=wasm32 -O2 -g -c host_function.c
 *   clang --target=wasm32 -nostdlib -Wl,--no-entry host_function.o -o host_function.wasm
 */
#define IMPORT(name) __attribute__((import_module("host"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("price") double host_price(const char *article, unsigned long article_bytes);
IMPORT("log") void host_log(const char *text, unsigned long text_bytes);

EXPORT("total") double total(int apples, int pears) {
    host_log("adding up", 9);
    return apples * host_price("apple", 5) + pears * host_price("pear", 4);
}

/* Asks for what there is not: the host function fails, and the call ends with a trap. */
EXPORT("total_of_plums") double total_of_plums(int plums) {
    return plums * host_price("plum", 4);
}
