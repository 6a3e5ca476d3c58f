/* Records what a program asks the file system to do below $RECORD_ROOT, in order, into $RECORD_LOG.
 *
 * Loaded with LD_PRELOAD in front of the real calls, so that what is recorded is what the real SQLite really did. One record per call, written
 * with one O_APPEND writev: a header, up to two paths, the data. A sync is recorded when it begins and when it has ended, because it promises only
 * what was written before it began. Writes to a file that ends in ".ack" are acknowledgements: what a user was told.
 *
 *   cc -shared -fPIC -O2 -o recorder.so recorder.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct header {
  uint32_t op;      /* C created or opened for creation, T truncate, W write, B sync begins, S sync ended, U unlink, R rename, D mkdir, A acknowledged */
  uint32_t thread;
  uint64_t inode;
  int64_t offset;   /* of a write; the new size of a truncate */
  uint32_t path, other;
  uint64_t data;
};

static char root[4096];
static size_t root_length;
static int log_handle = -1;

__attribute__((constructor)) static void begin(void) {
  const char *where = getenv("RECORD_ROOT"), *log = getenv("RECORD_LOG");
  if (!where || !log || strlen(where) >= sizeof root) return;
  strcpy(root, where);
  root_length = strlen(root);
  log_handle = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}
#define REAL(name) \
  static __typeof__(name) *call; \
  if (!call) call = real(#name)

static int is_below(const char *path) {
  return log_handle >= 0 && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The path that a handle was opened by, and its inode; false when it is none of ours. Also true of handles that were inherited or duplicated. */
static int of_handle(int handle, char path[4096], uint64_t *inode) {
  char link[64];
  struct stat found;
  if (log_handle < 0 || handle == log_handle) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
  ssize_t length = (ssize_t)syscall(SYS_readlinkat, AT_FDCWD, link, path, 4095);
  if (length <= 0) return 0;
  path[length] = 0;
  if (!is_below(path) || fstat(handle, &found)) return 0;
  *inode = found.st_ino;
  return 1;
}

static void record(char op, uint64_t inode, int64_t offset, const char *path, const char *other, const void *data, size_t size) {
  struct header h = {(uint32_t)op, (uint32_t)syscall(SYS_gettid), inode, offset, (uint32_t)strlen(path), (uint32_t)strlen(other), size};
  struct iovec parts[4] = {{&h, sizeof h}, {(void *)path, h.path}, {(void *)other, h.other}, {(void *)data, size}};
  if (syscall(SYS_writev, log_handle, parts, 4) < 0) abort();
}

static void record_open(int handle, const char *path, int flags) {
  struct stat found;
  if (handle < 0 || !(flags & (O_CREAT | O_TRUNC)) || !is_below(path) || fstat(handle, &found)) return;
  if (flags & O_CREAT) record('C', found.st_ino, 0, path, "", 0, 0);
  if (flags & O_TRUNC) record('T', found.st_ino, 0, path, "", 0, 0);
}

static int open_as(const char *name, const char *path, int flags, mode_t mode) {
  int (*call)(const char *, int, ...) = real(name);
  int handle = call(path, flags, mode);
  record_open(handle, path, flags);
  return handle;
}
#define MODE(flags, mode) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { MODE(flags, mode) return open_as("open", path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return open_as("open64", path, flags, mode); }

static ssize_t wrote(int handle, const void *data, ssize_t size, off64_t offset) {
  char path[4096];
  uint64_t inode;
  if (size > 0 && of_handle(handle, path, &inode)) {
    size_t length = strlen(path);
    int told = length > 4 && !strcmp(path + length - 4, ".ack");
    record(told ? 'A' : 'W', inode, offset, path, "", data, (size_t)size);
  }
  return size;
}

ssize_t write(int handle, const void *data, size_t size) {
  REAL(write);
  ssize_t done = call(handle, data, size);
  if (done <= 0 || log_handle < 0) return done;
  off64_t end = lseek64(handle, 0, SEEK_CUR); /* where it ended, also with O_APPEND */
  return wrote(handle, data, done, end < 0 ? 0 : end - done);
}

ssize_t pwrite64(int handle, const void *data, size_t size, off64_t offset) {
  REAL(pwrite64);
  return wrote(handle, data, call(handle, data, size, offset), offset);
}
ssize_t pwrite(int handle, const void *data, size_t size, off_t offset) { return pwrite64(handle, data, size, offset); }

int ftruncate64(int handle, off64_t size) {
  REAL(ftruncate64);
  char path[4096];
  uint64_t inode;
  int failed = call(handle, size);
  if (!failed && of_handle(handle, path, &inode)) record('T', inode, size, path, "", 0, 0);
  return failed;
}
int ftruncate(int handle, off_t size) { return ftruncate64(handle, size); }

static int synced(const char *name, int handle) {
  int (*call)(int) = real(name);
  char path[4096];
  uint64_t inode;
  int ours = of_handle(handle, path, &inode);
  if (ours) record('B', inode, 0, path, "", 0, 0);
  int failed = call(handle);
  if (ours && !failed) record('S', inode, 0, path, "", 0, 0);
  return failed;
}
int fsync(int handle) { return synced("fsync", handle); }
int fdatasync(int handle) { return synced("fdatasync", handle); }

int unlink(const char *path) {
  REAL(unlink);
  int failed = call(path);
  if (!failed && is_below(path)) record('U', 0, 0, path, "", 0, 0);
  return failed;
}

int rename(const char *from, const char *to) {
  REAL(rename);
  int failed = call(from, to);
  if (!failed && is_below(from)) record('R', 0, 0, from, to, 0, 0);
  return failed;
}

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  struct stat found;
  int failed = call(path, mode);
  if (!failed && is_below(path) && !stat(path, &found)) record('D', found.st_ino, 0, path, "", 0, 0);
  return failed;
}
