/* Makes file operations fail, or the process die, at the Nth one below a folder. Loaded by LD_PRELOAD.
 *
 * Environment, read at every operation so that a forked child can be told apart from its parent:
 *   FAULT_DIR   only files below it count; unset: nothing is touched
 *   FAULT_AT    number of the operation, from 1; 0: only count
 *   FAULT_MODE  kill: SIGKILL instead of the operation; torn: half of a write is done, then SIGKILL;
 *               enospc: this one and all later ones that need room fail so; eio: this one fails so
 *   FAULT_LOG   a file outside FAULT_DIR, gets one line an operation, and a line "fired" where the fault was made
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long count = 0;
static pid_t counted_by = 0;

static int below(const char *path) {
    const char *dir = getenv("FAULT_DIR");
    return dir && path && strncmp(path, dir, strlen(dir)) == 0;
}

static int path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
    if (n <= 0) return 0;
    out[n] = 0;
    return 1;
}

static void note(const char *what, const char *path) {
    const char *log = getenv("FAULT_LOG");
    if (!log) return;
    char line[PATH_MAX + 64];
    int n = snprintf(line, sizeof line, "%ld %s %s\n", count, what, path);
    int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0) return;
    syscall(SYS_write, fd, line, (size_t)n);
    syscall(SYS_close, fd);
}

/* 0: go on; 1: fail with errno set; 2: do half, then die */
static int fault(const char *what, const char *path, int needs_room) {
    if (counted_by != getpid()) { counted_by = getpid(); count = 0; }
    count++;
    const char *at_text = getenv("FAULT_AT"), *mode = getenv("FAULT_MODE");
    long at = at_text ? atol(at_text) : 0;
    note(what, path);
    if (at == 0 || !mode) return 0;
    if (strcmp(mode, "enospc") == 0 && count >= at && needs_room) {
        note("fired", path);
        errno = ENOSPC;
        return 1;
    }
    if (count != at) return 0;
    if (strcmp(mode, "eio") == 0) { note("fired", path); errno = EIO; return 1; }
    if (strcmp(mode, "torn") == 0 && strcmp(what, "write") == 0) return 2;
    if (strcmp(mode, "kill") == 0 || strcmp(mode, "torn") == 0) {
        note("fired", path);
        syscall(SYS_kill, getpid(), SIGKILL);
    }
    return 0;
}

static void die(const char *path) {
    note("fired", path);
    syscall(SYS_kill, getpid(), SIGKILL);
}

ssize_t write(int fd, const void *data, size_t size) {
    char path[PATH_MAX];
    if (getenv("FAULT_DIR") && fd > 2 && path_of(fd, path) && below(path)) {
        int verdict = fault("write", path, 1);
        if (verdict == 1) return -1;
        if (verdict == 2) { syscall(SYS_write, fd, data, size / 2); die(path); }
    }
    return syscall(SYS_write, fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int num) {
    char path[PATH_MAX];
    if (getenv("FAULT_DIR") && fd > 2 && path_of(fd, path) && below(path)) {
        int verdict = fault("write", path, 1);
        if (verdict == 1) return -1;
        if (verdict == 2) { syscall(SYS_writev, fd, parts, num / 2); die(path); }
    }
    return syscall(SYS_writev, fd, parts, num);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    char path[PATH_MAX];
    if (getenv("FAULT_DIR") && path_of(fd, path) && below(path)) {
        int verdict = fault("write", path, 1);
        if (verdict == 1) return -1;
        if (verdict == 2) { syscall(SYS_pwrite64, fd, data, size / 2, at); die(path); }
    }
    return syscall(SYS_pwrite64, fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return pwrite(fd, data, size, at); }

int ftruncate(int fd, off_t size) {
    char path[PATH_MAX];
    if (getenv("FAULT_DIR") && path_of(fd, path) && below(path) && fault("truncate", path, size > 0) == 1) return -1;
    return syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int fsync(int fd) {
    char path[PATH_MAX];
    if (getenv("FAULT_DIR") && path_of(fd, path) && below(path) && fault("fsync", path, 1) == 1) return -1;
    return syscall(SYS_fsync, fd);
}

static int opened(const char *path, int flags) {
    return (flags & O_CREAT) && below(path) ? fault("create", path, 1) == 1 : 0;
}


int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    if (opened(path, flags)) return -1;
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    if (opened(path, flags)) return -1;
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int rename(const char *from, const char *to) {
    if (below(to) && fault("rename", to, 1) == 1) return -1;
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdir(const char *path, mode_t mode) {
    if (below(path) && fault("mkdir", path, 1) == 1) return -1;
    return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int unlinkat(int at, const char *path, int flags) {
    /* folders are removed name by name, relative to an open folder */
    char folder[PATH_MAX];
    if (getenv("FAULT_DIR") && at != AT_FDCWD && path_of(at, folder) && below(folder)) {
        if (fault("unlink", folder, 0) == 1) return -1;
    } else if (below(path) && fault("unlink", path, 0) == 1) return -1;
    return syscall(SYS_unlinkat, at, path, flags);
}

int unlink(const char *path) {
    if (below(path) && fault("unlink", path, 0) == 1) return -1;
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rmdir(const char *path) {
    if (below(path) && fault("unlink", path, 0) == 1) return -1;
    return syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}
