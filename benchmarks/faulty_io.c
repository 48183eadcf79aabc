/* Disk faults at the n-th call, for LD_PRELOAD. Counts write, pwrite, ftruncate, fsync, fdatasync, rename, unlink, and
 * open and mkdir where they make something new, below one folder, and at the armed call does one of:
 *   1 kill     the process dies before the call
 *   2 cut      the power fails: what was written since each file's last fsync is undone, then a random part of it, in
 *              order, is written again (a disk may keep any of it), then the process dies
 *   3 ENOSPC   the n-th call that needs room, and the next `span` of them, fail with "no space left"
 *   4 EIO      the n-th call and the next `span` fail with an input/output error
 * A file's unsynced writes are remembered with what they replaced, so that a cut is exact.
 * What was counted and how often a fault was injected lies in memory that a forked process shares with its parent, so
 * that the parent knows it however the process ended. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct write_record {
    char path[PATH_MAX];
    off_t offset, size_before;
    size_t length, old_length;
    unsigned char *new_bytes, *old_bytes;
    struct write_record *previous;
};

static struct write_record *newest;
static char folder[PATH_MAX];
static long armed_at, span;
static volatile struct { long seen, seen_writing, struck; } *told;
static int action;
static unsigned int seed;
static int busy;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_open)(const char *, int, ...);
static int (*real_mkdir)(const char *, mode_t);

__attribute__((constructor)) static void resolve(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_open = dlsym(RTLD_NEXT, "open64");
    real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED) abort();
}

void faulty_arm(const char *below, int what, long nth, long how_many, unsigned int random_seed) {
    strncpy(folder, below, sizeof folder - 1);
    action = what;
    armed_at = nth;
    span = how_many;
    seed = random_seed;
    told->seen = told->seen_writing = told->struck = 0;
}

long faulty_seen(void) { return told->seen; }
long faulty_seen_writing(void) { return told->seen_writing; }
long faulty_struck(void) { return told->struck; }

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int watched(const char *path) {
    size_t length = strlen(folder);
    return length && strncmp(path, folder, length) == 0 && path[length] == '/';
}

static void forget(const char *path) {
    struct write_record **at = &newest;
    while (*at) {
        struct write_record *record = *at;
        if (strcmp(record->path, path) == 0) {
            *at = record->previous;
            free(record->new_bytes);
            free(record->old_bytes);
            free(record);
        } else {
            at = &record->previous;
        }
    }
}

static void redo(struct write_record *record) {
    if (!record) return;
    redo(record->previous);
    int luck = rand_r(&seed) % 3;
    if (luck == 0) return;
    size_t length = luck == 1 ? record->length : record->length * (size_t)(rand_r(&seed) % 8) / 8;
    int fd = real_open(record->path, O_WRONLY);
    if (fd < 0) return;
    if (record->new_bytes && length) (void)!real_pwrite(fd, record->new_bytes, length, record->offset);
    close(fd);
}

static void cut_power(void) {
    for (struct write_record *record = newest; record; record = record->previous) {
        int fd = real_open(record->path, O_WRONLY);
        if (fd < 0) continue;
        if (record->old_length) (void)!real_pwrite(fd, record->old_bytes, record->old_length, record->offset);
        (void)!real_ftruncate(fd, record->size_before);
        close(fd);
    }
    redo(newest);
}

/* Counts the call; 0 where it may go on, else the errno that it has to fail with. */
static int strike(const char *path, int writes) {
    if (busy || !told || !watched(path)) return 0;
    told->seen++;
    if (writes) told->seen_writing++;
    if (action == 3 && !writes) return 0;
    long at = action == 3 ? told->seen_writing : told->seen;
    if (!action || at < armed_at || at > armed_at + span) return 0;
    told->struck++;
    if (action == 3) return ENOSPC;
    if (action == 4) return EIO;
    busy = 1;
    if (action == 2) cut_power();
    kill(getpid(), SIGKILL);
    return 0;
}

static void remember(int fd, const char *path, const void *bytes, size_t length, off_t offset) {
    if (action != 2 || busy || !watched(path)) return;
    struct stat status;
    if (fstat(fd, &status)) return;
    struct write_record *record = calloc(1, sizeof *record);
    strncpy(record->path, path, PATH_MAX - 1);
    record->offset = offset;
    record->size_before = status.st_size;
    record->length = length;
    if (bytes) {
        record->new_bytes = malloc(length ? length : 1);
        memcpy(record->new_bytes, bytes, length);
    }
    record->old_bytes = malloc(length ? length : 1);
    int reader = real_open(path, O_RDONLY);
    ssize_t got = reader < 0 ? 0 : pread(reader, record->old_bytes, length, offset);
    if (reader >= 0) close(reader);
    record->old_length = got > 0 ? (size_t)got : 0;
    record->previous = newest;
    newest = record;
}

#define STRIKE(path, writes, failed)            \
    do {                                        \
        int error = strike(path, writes);       \
        if (error) {                            \
            errno = error;                      \
            return failed;                      \
        }                                       \
    } while (0)

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    char path[PATH_MAX];
    if (path_of(fd, path)) {
        STRIKE(path, 1, -1);
        remember(fd, path, bytes, length, offset);
    }
    return real_pwrite(fd, bytes, length, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t write(int fd, const void *bytes, size_t length) {
    char path[PATH_MAX];
    if (path_of(fd, path)) {
        STRIKE(path, 1, -1);
        if (watched(path)) remember(fd, path, bytes, length, lseek(fd, 0, SEEK_CUR));
    }
    return real_write(fd, bytes, length);
}

int ftruncate64(int fd, off_t length) {
    char path[PATH_MAX];
    if (path_of(fd, path)) STRIKE(path, 1, -1);
    return real_ftruncate(fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fsync(int fd) {
    char path[PATH_MAX];
    if (path_of(fd, path)) {
        STRIKE(path, 0, -1);
        if (action == 2) forget(path);
    }
    return real_fsync(fd);
}

int fdatasync(int fd) {
    char path[PATH_MAX];
    if (path_of(fd, path)) {
        STRIKE(path, 0, -1);
        if (action == 2) forget(path);
    }
    return real_fdatasync(fd);
}

int rename(const char *from, const char *to) {
    STRIKE(from, 1, -1);
    return real_rename(from, to);
}

int unlink(const char *path) {
    STRIKE(path, 0, -1);
    if (action == 2) forget(path);
    return real_unlink(path);
}

static int makes(const char *path, int flags) { return (flags & O_CREAT) && path[0] == '/' && access(path, F_OK); }

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (makes(path, flags)) STRIKE(path, 1, -1);
    return real_open(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open64(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    if (access(path, F_OK)) STRIKE(path, 1, -1);
    return real_mkdir(path, mode);
}
