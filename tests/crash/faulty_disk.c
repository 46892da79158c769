/* A disk that fails: preloaded into a process, it counts the writes and fsyncs of the database's files and does, at the
   one it was told of, what it was told. Everything else is passed on.

   perdure_disk(what, number): 0 nothing; 1 kill the process before fsync `number`; 2 fail write `number` as a full disk
   does; 3 fail it as a broken one does. Returns how many writes (or, for 1, fsyncs) there were since the last call. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int what, at, writes, syncs;

int perdure_disk(int new_what, int number)
{
    int seen = what == 1 ? syncs : writes;
    what = new_what;
    at = number;
    writes = syncs = 0;
    return seen;
}

static int is_database(int descriptor)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    return name && (!strcmp(name, "/runs.db") || !strcmp(name, "/runs.db-wal") || !strcmp(name, "/runs.db-journal"));
}

static int fails(int descriptor)
{
    if (what < 2 || !is_database(descriptor) || ++writes != at)
        return 0;
    errno = what == 2 ? ENOSPC : EIO;
    return 1;
}

static void synced(int descriptor)
{
    if (what == 1 && is_database(descriptor) && ++syncs == at)
        kill(getpid(), SIGKILL);
}

ssize_t write(int descriptor, const void *bytes, size_t count)
{
    static ssize_t (*next)(int, const void *, size_t);
    if (!next)
        next = dlsym(RTLD_NEXT, "write");
    return fails(descriptor) ? -1 : next(descriptor, bytes, count);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset)
{
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (!next)
        next = dlsym(RTLD_NEXT, "pwrite");
    return fails(descriptor) ? -1 : next(descriptor, bytes, count, offset);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset)
{
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next)
        next = dlsym(RTLD_NEXT, "pwrite64");
    return fails(descriptor) ? -1 : next(descriptor, bytes, count, offset);
}

int fsync(int descriptor)
{
    static int (*next)(int);
    if (!next)
        next = dlsym(RTLD_NEXT, "fsync");
    synced(descriptor);
    return next(descriptor);
}

int fdatasync(int descriptor)
{
    static int (*next)(int);
    if (!next)
        next = dlsym(RTLD_NEXT, "fdatasync");
    synced(descriptor);
    return next(descriptor);
}
