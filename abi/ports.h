/*
 * abi/ports.h: how ring 3 leaves the guest: `out %eax, imm8`. The host ignores the value of eax.
 * The TSS I/O bitmap allows exactly these ports; only the ring-0 stubs use the exception ports. An
 * `out` to any other port, any `in`, and any other exit is a guest violation.
 */
#ifndef HUSK_ABI_PORTS_H
#define HUSK_ABI_PORTS_H

/* the dispatcher is parked; the results are in mailbox.call_slots */
#define HUSK_PORT_CALL_DONE 0x10
/* mailbox.import_idx and .host_slots are set; the host puts the results into .host_slots */
#define HUSK_PORT_HOST_CALL 0x11
#define HUSK_PORT_SERVICE 0x12 /* mailbox.service_op and .service_arg are set (abi/mailbox.h) */
/* nobody catches the pending exception (abi/exception.h); nothing was unwound */
#define HUSK_PORT_UNCAUGHT 0x13
/* + vector 0..31: an exception stub; the frame is on the exception stack */
#define HUSK_PORT_EXCEPTION 0x80
#define HUSK_EXCEPTION_VECTORS 32

#endif
