/*
 * bench/micro/tails.c: a tokenizer over 1 MiB of text, as a machine of states, twice: one function
 * per state, which ends in a tail call of the next one, and one loop with a switch. Both look at a
 * byte per step and do the same with it.
 */
#include "../kernels/kernel.h"

#define EXPORT(type, name)                                                                         \
    __attribute__((export_name(#name))) type name(void);                                           \
    type name(void)
#define STATE static __attribute__((noinline)) uint64_t
#define GO __attribute__((musttail)) return

enum { TEXT_BYTES = 1 << 20 };
enum class { SPACE, LETTER, DIGIT, QUOTE, HASH, LINE, OTHER, END };

static uint8_t text[TEXT_BYTES + 1]; /* it ends with a 0 */
static uint8_t classes[256];

static void put_token(uint32_t *at, uint32_t *seed) {
    static const char starts[] = "aQ_7\"#+ \n ";
    uint32_t random = rng_next(seed), length = random >> 8 & 15;
    char start = starts[random % (sizeof starts - 1)];
    char rest = start == '"' || start == '#' ? 'x' : start;
    text[(*at)++] = (uint8_t)start;
    for (uint32_t i = 0; i < length && *at < TEXT_BYTES - 1; i++)
        text[(*at)++] = (uint8_t)rest;
    if (start == '"' || start == '#')
        text[(*at)++] = start == '"' ? '"' : '\n';
}

EXPORT(void, prepare) {
    uint32_t seed = 11, at = 0;
    while (at < TEXT_BYTES - 1)
        put_token(&at, &seed);
    for (uint32_t i = 0; i < 256; i++)
        classes[i] = OTHER;
    for (uint32_t i = 'a'; i <= 'z'; i++)
        classes[i] = classes[i - 'a' + 'A'] = LETTER;
    for (uint32_t i = '0'; i <= '9'; i++)
        classes[i] = DIGIT;
    classes[0] = END;
    classes[' '] = SPACE;
    classes['_'] = LETTER;
    classes['\n'] = LINE;
    classes['"'] = QUOTE;
    classes['#'] = HASH;
}

/* A token has ended. */
static inline uint64_t token(uint64_t sum, uint32_t kind, uint32_t length) {
    return sum_mix(sum, (uint64_t)kind << 32 | length);
}

/* ---- functions ---- */

STATE in_word(const uint8_t *at, uint64_t sum, uint32_t length);
STATE in_number(const uint8_t *at, uint64_t sum, uint32_t length);
STATE in_string(const uint8_t *at, uint64_t sum, uint32_t length);
STATE in_comment(const uint8_t *at, uint64_t sum, uint32_t length);

STATE between(const uint8_t *at, uint64_t sum, uint32_t length) {
    switch (classes[*at]) {
    case END: return sum;
    case LETTER: GO in_word(at + 1, sum, 1);
    case DIGIT: GO in_number(at + 1, sum, 1);
    case QUOTE: GO in_string(at + 1, sum, 0);
    case HASH: GO in_comment(at + 1, sum, 0);
    case OTHER: GO between(at + 1, token(sum, OTHER, *at), length);
    default: GO between(at + 1, sum, length);
    }
}

STATE in_word(const uint8_t *at, uint64_t sum, uint32_t length) {
    uint32_t class = classes[*at];
    if (class == LETTER || class == DIGIT)
        GO in_word(at + 1, sum, length + 1);
    GO between(at, token(sum, LETTER, length), 0);
}

STATE in_number(const uint8_t *at, uint64_t sum, uint32_t length) {
    if (classes[*at] == DIGIT)
        GO in_number(at + 1, sum, length + 1);
    GO between(at, token(sum, DIGIT, length), 0);
}

STATE in_string(const uint8_t *at, uint64_t sum, uint32_t length) {
    switch (classes[*at]) {
    case END: GO between(at, sum, 0);
    case QUOTE: GO between(at + 1, token(sum, QUOTE, length), 0);
    default: GO in_string(at + 1, sum, length + 1);
    }
}

STATE in_comment(const uint8_t *at, uint64_t sum, uint32_t length) {
    switch (classes[*at]) {
    case END: GO between(at, sum, 0);
    case LINE: GO between(at + 1, token(sum, HASH, length), 0);
    default: GO in_comment(at + 1, sum, length + 1);
    }
}

EXPORT(uint64_t, tails) {
    return between(text, SUM_START, 0);
}

/* ---- a loop with a switch ---- */

enum state { BETWEEN, IN_WORD, IN_NUMBER, IN_STRING, IN_COMMENT };

/* A byte that may start a token. */
static inline enum state start(uint32_t class) {
    return class == LETTER  ? IN_WORD
           : class == DIGIT ? IN_NUMBER
           : class == QUOTE ? IN_STRING
           : class == HASH  ? IN_COMMENT
                            : BETWEEN;
}

struct machine {
    const uint8_t *at;
    uint64_t sum;
    uint32_t length;
    enum state state;
};

static inline void more(struct machine *machine) {
    machine->length++;
    machine->at++;
}

static inline void done(struct machine *machine, uint32_t kind) {
    machine->sum = token(machine->sum, kind, machine->length);
    machine->state = BETWEEN;
}

static inline void quoted(struct machine *machine, uint32_t class, uint32_t end, uint32_t kind) {
    if (class == END) {
        machine->state = BETWEEN;
    } else if (class == end) {
        done(machine, kind);
        machine->at++;
    } else {
        more(machine);
    }
}

EXPORT(uint64_t, loop) {
    struct machine machine = {.at = text, .sum = SUM_START, .state = BETWEEN};
    for (;;) {
        const uint32_t class = classes[*machine.at];
        switch (machine.state) {
        case BETWEEN:
            if (class == END)
                return machine.sum;
            if (class == OTHER)
                machine.sum = token(machine.sum, OTHER, *machine.at);
            machine.state = start(class);
            machine.length = class == LETTER || class == DIGIT;
            machine.at++;
            break;
        case IN_WORD:
            if (class == LETTER || class == DIGIT)
                more(&machine);
            else
                done(&machine, LETTER);
            break;
        case IN_NUMBER:
            if (class == DIGIT)
                more(&machine);
            else
                done(&machine, DIGIT);
            break;
        case IN_STRING: quoted(&machine, class, QUOTE, QUOTE); break;
        case IN_COMMENT: quoted(&machine, class, LINE, HASH); break;
        }
    }
}
