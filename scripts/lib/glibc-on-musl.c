// What Node's binary for Linux, built with glibc, and libstdc++ ask of glibc and musl does not have: with it
// musl's loader starts them, for tests of the addon that is built for musl (scripts/lib/musl.js). Whatever
// nothing of that depends on does nothing, or ends the process.

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

extern char** environ;
int fcntl(int, int, ...);

// libstdc++: whether the process has a single thread, random numbers, dates, destructors of a thread's
// variables.

char __libc_single_threaded = 0;

unsigned arc4random(void) {
  unsigned value;
  if (getrandom(&value, sizeof value, 0) != sizeof value) abort();
  return value;
}

size_t __strftime_l(char* text, size_t size, const char* format, const struct tm* time, locale_t locale) {
  return strftime_l(text, size, format, time, locale);
}

struct Destructor {
  struct Destructor* next;
  void (*call)(void*);
  void* object;
};

static pthread_key_t destructors;

static void call_destructors(void* first) {
  for (struct Destructor* each = first; each != NULL;) {
    struct Destructor* next = each->next;
    each->call(each->object);
    free(each);
    each = next;
  }
}

int __cxa_thread_atexit_impl(void (*call)(void*), void* object, void* library) {
  (void)library;
  struct Destructor* added = malloc(sizeof *added);
  if (added == NULL) return -1;
  added->next = pthread_getspecific(destructors);
  added->call = call;
  added->object = object;
  return pthread_setspecific(destructors, added);
}

// What glibc's headers, from 2.38 on, make of strtol and the like.

long c23_strtol(const char* text, char** end, int base) __asm__("__isoc23_strtol");
unsigned long c23_strtoul(const char* text, char** end, int base) __asm__("__isoc23_strtoul");
long plain_strtol(const char* text, char** end, int base) __asm__("strtol");
unsigned long plain_strtoul(const char* text, char** end, int base) __asm__("strtoul");

long c23_strtol(const char* text, char** end, int base) { return plain_strtol(text, end, base); }
unsigned long c23_strtoul(const char* text, char** end, int base) { return plain_strtoul(text, end, base); }

// libgcc: where a function's unwinding is described (not found: it then looks itself), and the processor.

int _dl_find_object(void* address, void* result) {
  (void)address;
  (void)result;
  return -1;
}

struct {
  unsigned vendor, type, subtype, features[1];
} __cpu_model;

int __cpu_indicator_init(void) { return 0; }

// Node.

int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void* library) {
  (void)library;
  return pthread_atfork(before, parent, child);
}

int fcntl64(int file, int command, long argument) { return fcntl(file, command, argument); }

const char* gnu_get_libc_version(void) { return "0.0"; }

int backtrace(void** frames, int count) {
  (void)frames;
  (void)count;
  return 0;
}

char** backtrace_symbols(void* const* frames, int count) {
  (void)frames;
  (void)count;
  return NULL;
}

int getcontext(void* context) {
  (void)context;
  abort();
}

int setcontext(const void* context) {
  (void)context;
  abort();
}

void makecontext(void* context, void (*call)(void), int count, ...) {
  (void)context;
  (void)call;
  (void)count;
  abort();
}

// Above every frame of the first thread. Node has a copy of it in memory that is read-only by now.
void* __libc_stack_end;

__attribute__((constructor)) static void start(void) {
  if (pthread_key_create(&destructors, call_destructors) != 0) abort();
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  void* begin = (void*)((size_t)&__libc_stack_end / page * page);
  if (mprotect(begin, page, PROT_READ | PROT_WRITE) != 0) abort();
  __libc_stack_end = environ;
}
