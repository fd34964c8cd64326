// Preloaded into redis-server (LD_PRELOAD): what makes its append-only file durable takes a while, as on a slow or
// busy disk. In milliseconds: SLOW_FSYNC_MS each time; every SLOW_FSYNC_STALL_EVERY-th time SLOW_FSYNC_STALL_MS.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

// Only the file that is written to all the time: Redis starts as fast as ever.
static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, ".incr.aof") != NULL;
}

static void wait_a_while(int fd) {
    static long calls;
    if (!is_log(fd)) return;
    long ms = number("SLOW_FSYNC_MS"), every = number("SLOW_FSYNC_STALL_EVERY");
    if (every > 0 && __sync_add_and_fetch(&calls, 1) % every == 0) ms = number("SLOW_FSYNC_STALL_MS");
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

int fsync(int fd) {
    wait_a_while(fd);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    wait_a_while(fd);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
