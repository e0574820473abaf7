/*
 * cli/input.c: reads the file that the user named, and finds its kind: a wasm module, an image, or
 * something else, with a helpful message.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

/* of what is read into memory; no engine takes larger modules */
#define INPUT_MAX_BYTES (UINT64_C(1) << 30)
#define FIRST_BYTES 65536u /* enough to see what it is */

int cli_error(struct husk_error *err, int status, const char *format, ...) {
    va_list args;
    *err = (struct husk_error){.status = status, .offset = HUSK_NO_OFFSET};
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

static int error_errno(struct husk_error *err, const char *what) {
    int number = errno;
    cli_error(err, HUSK_E_SYS, "%s: %s", what, strerror(number));
    err->sys_errno = number;
    return HUSK_E_SYS;
}

/* Until there are `wanted` bytes or the file ends; pipes too. */
static int read_up_to(int fd, size_t wanted, struct input *input, size_t *capacity,
                      struct husk_error *err) {
    while (input->count < wanted) {
        if (input->count == *capacity) {
            size_t larger = *capacity != 0 ? *capacity * 2 : FIRST_BYTES;
            uint8_t *grown = realloc(input->bytes, larger);
            if (grown == NULL)
                return cli_error(err, HUSK_E_NOMEM, "out of memory for %zu bytes", larger);
            input->bytes = grown;
            *capacity = larger;
        }
        ssize_t got = read(fd, input->bytes + input->count, *capacity - input->count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_errno(err, "cannot read");
        if (got == 0)
            return 0;
        input->count += (size_t)got;
    }
    return 0;
}

static const uint8_t elf_magic[4] = {0x7f, 'E', 'L', 'F'};

/* Images are ELF executables for x86-64 at a fixed place: bytes 4 (class), 16 (type) and 18
 * (machine). */
static bool is_image_header(const uint8_t *bytes) {
    return bytes[4] == 2 && bytes[16] == 2 && bytes[17] == 0 && bytes[18] == 62 && bytes[19] == 0;
}

/* The decoder knows what people give by mistake. */
static int foreign_error(const struct input *input, struct husk_error *err) {
    static const char prefix[] = "magic header not detected: this is ";
    struct husk_error decoder_err;
    husk_validate(input->bytes, input->count, &decoder_err);
    if (strncmp(decoder_err.message, prefix, sizeof prefix - 1) != 0 ||
        strstr(decoder_err.message, "not WebAssembly (") != NULL)
        return cli_error(err, HUSK_E_BAD_WASM,
                         "is neither a wasm module (starts with \"\\0asm\") nor a husk image");
    return cli_error(err, HUSK_E_BAD_WASM, "is %s", decoder_err.message + sizeof prefix - 1);
}

static int input_classify(struct input *input, struct husk_error *err) {
    static const uint8_t component[4] = {0x0d, 0, 1, 0};
    const uint8_t *bytes = input->bytes;
    if (input->count == 0)
        return cli_error(err, HUSK_E_BAD_WASM, "is empty");
    if (husk_is_wasm(bytes, input->count)) {
        input->kind = INPUT_WASM;
        if (input->count >= 8 && memcmp(bytes + 4, component, 4) == 0)
            return cli_error(
                err, HUSK_E_UNSUPPORTED,
                "is a WebAssembly component; only core modules can be run. Extract its core module "
                "(wasm-tools component unbundle), or build for wasm32-wasi (preview 1)");
        return 0;
    }
    if (input->count >= 4 && memcmp(bytes, elf_magic, 4) == 0) {
        input->kind = INPUT_IMAGE;
        if (input->count >= 20 && !is_image_header(bytes))
            return cli_error(err, HUSK_E_BAD_IMAGE,
                             "is a native program, library or object file (ELF), neither a wasm "
                             "module nor a husk image");
        return 0;
    }
    return foreign_error(input, err);
}

/* The first bytes say what it is; the rest is read if it is needed. */
static int input_read(int fd, struct input *input, struct husk_error *err) {
    struct stat st;
    size_t capacity = 0;
    if (fstat(fd, &st) != 0)
        return error_errno(err, "cannot examine");
    if (S_ISDIR(st.st_mode))
        return cli_error(err, HUSK_E_INVAL, "is a directory; name a .wasm or .husk file");
    int status = read_up_to(fd, FIRST_BYTES, input, &capacity, err);
    if (status == 0)
        status = input_classify(input, err);
    if (status != 0)
        return status;
    /* a module that standard input has had at another place than the start is read from there */
    const bool is_file = S_ISREG(st.st_mode) && (input->kind == INPUT_IMAGE ||
                                                 lseek(fd, 0, SEEK_CUR) == (off_t)input->count);
    if (is_file) {
        input->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (input->kind == INPUT_IMAGE)
            input->count = (size_t)st.st_size;
        return input->fd < 0 ? error_errno(err, "cannot duplicate a descriptor") : 0;
    }
    status = read_up_to(fd, INPUT_MAX_BYTES + 1, input, &capacity, err);
    if (status == 0 && input->count > INPUT_MAX_BYTES)
        return cli_error(err, HUSK_E_INVAL, "is larger than 1 GiB");
    return status;
}

int input_read_module(struct input *input, struct husk_error *err) {
    struct stat st;
    size_t capacity = input->count, bytes = 0;
    if (input->kind == INPUT_IMAGE || input->fd < 0)
        return 0;
    if (fstat(input->fd, &st) == 0 && st.st_size > 0 && (uint64_t)st.st_size <= INPUT_MAX_BYTES)
        bytes = (size_t)st.st_size + 1; /* one more, to see the end */
    if (bytes > capacity) {             /* all at once: growing it would copy it several times */
        uint8_t *grown = realloc(input->bytes, bytes);
        if (grown == NULL)
            return cli_error(err, HUSK_E_NOMEM, "out of memory for %zu bytes", bytes);
        input->bytes = grown;
        capacity = bytes;
    }
    int status = read_up_to(input->fd, INPUT_MAX_BYTES + 1, input, &capacity, err);
    if (status == 0 && input->count > INPUT_MAX_BYTES)
        return cli_error(err, HUSK_E_INVAL, "is larger than 1 GiB");
    return status;
}

int input_load(const char *path, struct input *ret_input, struct husk_error *err) {
    struct input input;
    int status = input_peek(path, &input, err);
    if (status != 0)
        return status;
    status = input_read_module(&input, err);
    if (status != 0)
        input_done(&input);
    else
        *ret_input = input;
    return status;
}

int input_peek(const char *path, struct input *ret_input, struct husk_error *err) {
    struct input input = {.path = path, .fd = -1};
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "cannot open");
    int status = input_read(fd, &input, err);
    if (fd != STDIN_FILENO)
        close(fd);
    if (status != 0)
        input_done(&input);
    else
        *ret_input = input;
    return status;
}

/* A regular file, by whatever names: hard and symbolic links, standard input. Not opened to see
 * that: a pipe's writer would notice. */
static bool is_same_file(const char *input_path, const char *path) {
    struct stat a, b;
    int rc = strcmp(input_path, "-") == 0 ? fstat(STDIN_FILENO, &a) : stat(input_path, &a);
    return rc == 0 && S_ISREG(a.st_mode) && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static bool starts_as_image(const char *path) {
    uint8_t first[4];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_image = fd >= 0 && read(fd, first, 4) == 4 && memcmp(first, elf_magic, 4) == 0;
    if (fd >= 0)
        close(fd);
    return is_image;
}

int check_output(const struct report *report, const char *input_path, const char *output) {
    if (strcmp(output, "-") == 0)
        return report_usage(report, "images go to files, which are written durably and as a whole, "
                                    "and not to standard output; a file of the name '-' is ./-");
    if (is_same_file(input_path, output) && !starts_as_image(output))
        return report_usage(report,
                            "'%s' is the module itself, which the image would replace; name "
                            "another file with -o FILE.husk",
                            output);
    return CLI_OK;
}

int input_open_image(const struct input *input, const struct husk_open_options *options,
                     husk_image **ret_image, struct husk_error *err) {
    if (input->fd >= 0)
        return husk_image_open_fd(NULL, input->fd, options, ret_image, err);
    const struct husk_buffer buffer = {input->bytes, input->count};
    return husk_image_open_buffer(NULL, buffer, options, ret_image, err);
}

/* Standard input is at its end then, however much of it was needed: what is left of the module is
 * not the guest's input. */
void input_done(struct input *input) {
    free(input->bytes);
    if (input->fd >= 0) {
        (void)lseek(input->fd, 0, SEEK_END);
        close(input->fd);
    }
    *input = (struct input){.fd = -1};
}
