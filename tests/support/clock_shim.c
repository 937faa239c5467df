/* LD_PRELOAD shim: adds the signed number of nanoseconds found in the file KIOSK_CLOCK_FILE to the wall clock.
 * The file is mapped, so a change applies at the next reading. Monotonic clocks, timers and the time stamps the
 * kernel writes on files are untouched. Without the variable, or without the file, nothing is changed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL

static const volatile int64_t *shift_ns;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static void start(void)
{
    const char *path;
    void *page;
    int file;

    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    path = getenv("KIOSK_CLOCK_FILE");
    if (path == NULL || (file = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return;
    page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        shift_ns = page;
}

__attribute__((constructor)) static void at_load(void)
{
    if (real_clock_gettime == NULL)
        start();
}

static void add_shift(struct timespec *at)
{
    int64_t shift = shift_ns ? *shift_ns : 0;
    int64_t ns = at->tv_nsec + shift % SECOND_NS;

    at->tv_sec += shift / SECOND_NS;
    if (ns < 0) {
        ns += SECOND_NS;
        at->tv_sec -= 1;
    } else if (ns >= SECOND_NS) {
        ns -= SECOND_NS;
        at->tv_sec += 1;
    }
    at->tv_nsec = ns;
}

static int is_wall(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_TAI;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int failed;

    if (real_clock_gettime == NULL)
        start();
    failed = real_clock_gettime(clock, at);
    if (!failed && is_wall(clock))
        add_shift(at);
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now))
        return (time_t)-1;
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, at) == 0 ? base : 0;
}
