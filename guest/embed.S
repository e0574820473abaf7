/* guest/embed.S: the guest runtime's object files as bytes; see guest_rt.c. The paths come from the
 * build (CMakeLists.txt). */
    .section .rodata, "a", @progbits
    .macro embed name, path
    .globl \name, \name\()_end
    .hidden \name, \name\()_end
    .balign 16
\name:
    .incbin "\path"
\name\()_end:
    .endm

    embed guest_entry, GUEST_ENTRY
    embed guest_runtime_0, GUEST_RUNTIME_0
    embed guest_runtime_1, GUEST_RUNTIME_1
    embed guest_exchange, GUEST_EXCHANGE
    embed guest_throw_entry, GUEST_THROW_ENTRY
    embed guest_throw, GUEST_THROW

    .section .note.GNU-stack, "", @progbits
