/* Preloaded into a process: lets chosen system calls on the files of one folder fail, fall short, or kill the process.
 *
 * fault_arm(folder, at, how, code) counts the calls on files below `folder` from then on and acts on number `at`,
 * or on every one where `at` is -1.  It acts as `how` says: FAIL with the errno `code`; KILL before the call; SHORT: transfer
 * one byte only.  fault_count() tells how many calls there were.  For killing, only those count that change what another
 * process sees: killed at any other, it leaves what it leaves at the next of these; for SHORT, only transfers.  Nothing is
 * flushed to the disk, which a kill does not need, and which takes most of the time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FAIL, KILL, SHORT };
enum { NEITHER = 0, CHANGES = 1, TRANSFERS = 2 };

static char folder[PATH_MAX];
static long at, count;
static int how, code, armed;

void fault_arm(const char *below, long number, int action, int value)
{
    snprintf(folder, sizeof folder, "%s", below);
    at = number, how = action, code = value, count = 0, armed = 1;
}

long fault_count(void) { return count; }

/* The wall clock, as this process sees it, moved by so many seconds. */
static long clock_moved;

void fault_clock(long seconds) { clock_moved = seconds; }

static int below(const char *path) { return armed && strncmp(path, folder, strlen(folder)) == 0; }

static int of_descriptor(int fd)
{
    char link[64], path[PATH_MAX];
    if (!armed)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return below(path);
}

static int of_path(int dir, const char *path)
{
    return armed && (path[0] == '/' ? below(path) : dir != AT_FDCWD && of_descriptor(dir));
}

/* Whether this call is the one: 0 no, 1 yes. */
static int chosen(int concerned, int kind)
{
    int counts = how == FAIL ? 1 : how == SHORT ? kind & TRANSFERS : kind & CHANGES;
    if (!concerned || !counts)
        return 0;
    long number = __sync_fetch_and_add(&count, 1);
    if (at >= 0 && number != at)
        return 0;
    if (how == KILL)
        kill(getpid(), SIGKILL), pause();
    return 1;
}

#define REAL(name) __extension__({ static void *found; if (!found) found = dlsym(RTLD_NEXT, #name); (__typeof__(&name))found; })
#define CALL(concerned, kind, name, ...) \
    int hit = chosen(concerned, kind); \
    if (hit && how == FAIL) { errno = code; return -1; } \
    return REAL(name)(__VA_ARGS__);

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
      CALL(of_path(AT_FDCWD, path), flags & (O_CREAT | O_TRUNC) ? CHANGES : NEITHER, name, path, flags, mode) }
#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) \
    { va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
      CALL(of_path(dir, path), flags & (O_CREAT | O_TRUNC) ? CHANGES : NEITHER, name, dir, path, flags, mode) }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* Transfers: a short one moves a single byte. */
#define LIMIT(size) (hit && how == SHORT && (size) > 1 ? 1 : (size))
#define TRANSFER(name, kind, ...) \
    int hit = chosen(of_descriptor(fd), TRANSFERS | kind); \
    if (hit && how == FAIL) { errno = code; return -1; } \
    return REAL(name)(fd, data, LIMIT(size), ##__VA_ARGS__);
ssize_t read(int fd, void *data, size_t size) { TRANSFER(read, NEITHER) }
ssize_t write(int fd, const void *data, size_t size) { TRANSFER(write, CHANGES) }
ssize_t pread(int fd, void *data, size_t size, off_t offset) { TRANSFER(pread, NEITHER, offset) }
ssize_t pread64(int fd, void *data, size_t size, off64_t offset) { TRANSFER(pread64, NEITHER, offset) }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { TRANSFER(pwrite, CHANGES, offset) }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { TRANSFER(pwrite64, CHANGES, offset) }

/* Of scattered reads, the first part is what falls short. */
#define SCATTERED(name, ...) \
    int hit = chosen(of_descriptor(fd), TRANSFERS); \
    if (hit && how == FAIL) { errno = code; return -1; } \
    struct iovec one = parts[0]; \
    int some = hit && how == SHORT && number > 0 && one.iov_len > 1; \
    one.iov_len = some ? 1 : one.iov_len; \
    return REAL(name)(fd, some ? &one : parts, some ? 1 : number, ##__VA_ARGS__);
ssize_t preadv(int fd, const struct iovec *parts, int number, off_t offset) { SCATTERED(preadv, offset) }
ssize_t preadv64(int fd, const struct iovec *parts, int number, off64_t offset) { SCATTERED(preadv64, offset) }
ssize_t preadv2(int fd, const struct iovec *parts, int number, off_t offset, int flags) { SCATTERED(preadv2, offset, flags) }
ssize_t preadv64v2(int fd, const struct iovec *parts, int number, off64_t offset, int flags) { SCATTERED(preadv64v2, offset, flags) }

static int flush(int fd)
{
    if (chosen(of_descriptor(fd), NEITHER) && how == FAIL) {
        errno = code;
        return -1;
    }
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}
int fsync(int fd) { return flush(fd); }
int fdatasync(int fd) { return flush(fd); }
int fchmod(int fd, mode_t mode) { CALL(of_descriptor(fd), CHANGES, fchmod, fd, mode) }
int fchown(int fd, uid_t user, gid_t group) { CALL(of_descriptor(fd), CHANGES, fchown, fd, user, group) }
int ftruncate64(int fd, off64_t size) { CALL(of_descriptor(fd), CHANGES, ftruncate64, fd, size) }
int chmod(const char *path, mode_t mode) { CALL(of_path(AT_FDCWD, path), CHANGES, chmod, path, mode) }
int mkdir(const char *path, mode_t mode) { CALL(of_path(AT_FDCWD, path), CHANGES, mkdir, path, mode) }
int rmdir(const char *path) { CALL(of_path(AT_FDCWD, path), CHANGES, rmdir, path) }
int rename(const char *from, const char *to) { CALL(of_path(AT_FDCWD, from), CHANGES, rename, from, to) }
int renameat(int dir, const char *from, int other, const char *to) { CALL(of_path(dir, from), CHANGES, renameat, dir, from, other, to) }
int link(const char *from, const char *to) { CALL(of_path(AT_FDCWD, from), CHANGES, link, from, to) }
int linkat(int dir, const char *from, int other, const char *to, int flags) { CALL(of_path(dir, from), CHANGES, linkat, dir, from, other, to, flags) }
int unlink(const char *path) { CALL(of_path(AT_FDCWD, path), CHANGES, unlink, path) }
int unlinkat(int dir, const char *path, int flags) { CALL(of_path(dir, path), CHANGES, unlinkat, dir, path, flags) }

int clock_gettime(clockid_t which, struct timespec *now)
{
    int result = REAL(clock_gettime)(which, now);
    if (which == CLOCK_REALTIME)
        now->tv_sec += clock_moved;
    return result;
}
