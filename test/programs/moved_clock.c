// A wall clock that server tests can set. Loaded with LD_PRELOAD, this adds as many seconds to it as the file says that
// VEZA_TEST_CLOCK names, and none while there is no such file. The steady clock stays as it is. Only the processes that
// have this variable are concerned.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

// Does not change errno: a caller may look at that of a call before.
static long Moved(void) {
  const int error = errno;
  char text[32];
  const char* path = getenv("VEZA_TEST_CLOCK");
  const int file = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) {
    errno = error;
    return 0;
  }
  const ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  errno = error;
  text[size > 0 ? size : 0] = '\0';
  return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  static int (*next)(clockid_t, struct timespec*);
  if (next == NULL) {
    next = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  }
  const int result = next(clock, now);
  if (result == 0 && clock == CLOCK_REALTIME) {
    now->tv_sec += Moved();
  }
  return result;
}

int gettimeofday(struct timeval* restrict now, void* restrict zone) {
  (void)zone;
  struct timespec precise;
  const int result = clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return result;
}

time_t time(time_t* result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result != NULL) {
    *result = now.tv_sec;
  }
  return now.tv_sec;
}
