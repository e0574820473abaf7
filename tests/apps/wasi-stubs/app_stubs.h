/*
 * tests/apps/wasi-stubs/app_stubs.h: included before every file of the guest programs. It declares
 * functions of POSIX that wasi-libc lacks. app_stubs.c defines them to fail with ENOSYS, as on a
 * system without processes, owners and temporary files.
 */
#ifndef APP_STUBS_H
#define APP_STUBS_H

#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

int system(const char *command);
char *tmpnam(char *name);
FILE *tmpfile(void);
FILE *popen(const char *command, const char *mode);
int pclose(FILE *stream);
int chmod(const char *path, mode_t mode);
int fchmod(int fd, mode_t mode);
int chown(const char *path, uid_t owner, gid_t group);
int fchown(int fd, uid_t owner, gid_t group);
mode_t umask(mode_t mask);
uid_t getuid(void);
uid_t geteuid(void);
char *realpath(const char *path, char *out);
int mkstemp(char *name);

#ifndef L_tmpnam
#define L_tmpnam 20
#endif
/* File locks: wasi-libc's fcntl() refuses the commands. */
#ifndef F_GETLK
#define F_GETLK 5
#define F_SETLK 6
#define F_RDLCK 0
#define F_WRLCK 1
#define F_UNLCK 2
#endif

#endif
