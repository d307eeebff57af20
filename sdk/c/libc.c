// A C library for plugins: memory, strings and snprintf. Small, and without a system below it.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Memory. Blocks come in powers of two, each with its size in front; a freed one waits in the list of its size for
// the next of that size. Nothing is given back, since an instance lives for one call, one step or one command.

extern uint8_t __heap_base;

#define PAGE 65536u
#define SMALLEST 4 // 16 bytes, header included
#define LARGEST 31

typedef struct block {
  uint32_t class;
  uint32_t magic;
  struct block *next; // only while it is free
} block_t;

#define HEADER 8u
#define MAGIC 0x57494e44u

static block_t *waiting[LARGEST + 1];
static uintptr_t top;

static uint32_t class_of(size_t size) {
  uint32_t class = SMALLEST;
  while (((size_t)1 << class) < size) class++;
  return class;
}

void *malloc(size_t size) {
  if (size > ((size_t)1 << LARGEST) - HEADER) return NULL;
  uint32_t class = class_of(size + HEADER);
  block_t *block = waiting[class];
  if (block) {
    waiting[class] = block->next;
  } else {
    if (!top) top = ((uintptr_t)&__heap_base + 15u) & ~(uintptr_t)15u;
    // Blocks begin 8 bytes before a multiple of 16, so that what is handed out is aligned.
    uint64_t end = (uint64_t)top + HEADER + ((uint64_t)1 << class);
    uint64_t there = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end > there && __builtin_wasm_memory_grow(0, (size_t)((end - there + PAGE - 1) / PAGE)) == (size_t)-1) return NULL;
    block = (block_t *)(top + HEADER);
    top += (size_t)1 << class;
  }
  block->class = class;
  block->magic = MAGIC;
  return (uint8_t *)block + HEADER;
}

static block_t *block_of(void *pointer) {
  if ((uintptr_t)pointer <= (uintptr_t)&__heap_base) return NULL;
  block_t *block = (block_t *)((uint8_t *)pointer - HEADER);
  return block->magic == MAGIC ? block : NULL;
}

void free(void *old) {
  block_t *block = block_of(old);
  if (!block) return;
  block->magic = 0;
  block->next = waiting[block->class];
  waiting[block->class] = block;
}

void *calloc(size_t count, size_t size) {
  if (size && count > SIZE_MAX / size) return NULL;
  void *made = malloc(count * size);
  return made ? memset(made, 0, count * size) : NULL;
}

void *realloc(void *old, size_t size) {
  if (!old) return malloc(size);
  block_t *block = block_of(old);
  size_t room = block ? ((size_t)1 << block->class) - HEADER : size;
  if (block && size <= room) return old;
  void *made = malloc(size);
  if (!made) return NULL;
  memcpy(made, old, room < size ? room : size);
  free(old);
  return made;
}

_Noreturn void abort(void) {
  __builtin_trap();
}

// Strings.

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  return __builtin_memcpy(to, from, size); // the machine's `memory.copy`
}

void *memmove(void *to, const void *from, size_t size) {
  return __builtin_memmove(to, from, size);
}

void *memset(void *to, int byte, size_t size) {
  return __builtin_memset(to, byte, size);
}

int memcmp(const void *a, const void *b, size_t size) {
  const uint8_t *x = a, *y = b;
  for (; size; size--, x++, y++)
    if (*x != *y) return *x - *y;
  return 0;
}

void *memchr(const void *in, int byte, size_t size) {
  for (const uint8_t *at = in; size; size--, at++)
    if (*at == (uint8_t)byte) return (void *)at;
  return NULL;
}

size_t strlen(const char *text) {
  const char *end = text;
  while (*end) end++;
  return (size_t)(end - text);
}

int strncmp(const char *a, const char *b, size_t size) {
  for (; size; size--, a++, b++) {
    if (*a != *b) return (uint8_t)*a - (uint8_t)*b;
    if (!*a) return 0;
  }
  return 0;
}

int strcmp(const char *a, const char *b) {
  return strncmp(a, b, SIZE_MAX);
}

char *strchr(const char *in, int c) {
  for (;; in++) {
    if (*in == (char)c) return (char *)in;
    if (!*in) return NULL;
  }
}

char *strrchr(const char *in, int c) {
  const char *found = NULL;
  for (;; in++) {
    if (*in == (char)c) found = in;
    if (!*in) return (char *)found;
  }
}

char *strstr(const char *in, const char *what) {
  size_t size = strlen(what);
  for (;; in++) {
    if (!strncmp(in, what, size)) return (char *)in;
    if (!*in) return NULL;
  }
}

char *strdup(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

// Numbers.

int abs(int n) {
  return n < 0 ? -n : n;
}

long long strtoll(const char *text, char **end, int base) {
  const char *at = text;
  while (*at == ' ' || (*at >= '\t' && *at <= '\r')) at++;
  int negative = *at == '-';
  if (*at == '-' || *at == '+') at++;
  if ((base == 0 || base == 16) && at[0] == '0' && (at[1] | 32) == 'x') {
    at += 2;
    base = 16;
  } else if (base == 0) {
    base = *at == '0' ? 8 : 10;
  }
  unsigned long long n = 0;
  const char *first = at;
  for (;; at++) {
    int digit = *at >= '0' && *at <= '9' ? *at - '0' : (*at | 32) >= 'a' && (*at | 32) <= 'z' ? (*at | 32) - 'a' + 10 : 99;
    if (digit >= base) break;
    n = n * (unsigned)base + (unsigned)digit;
  }
  if (end) *end = (char *)(at == first ? text : at);
  return (long long)(negative ? 0 - n : n);
}

long strtol(const char *text, char **end, int base) {
  return (long)strtoll(text, end, base);
}

int atoi(const char *text) {
  return (int)strtoll(text, NULL, 10);
}

// Heap sort: no recursion, no worst case.
static void swap(uint8_t *a, uint8_t *b, size_t size) {
  for (; size; size--, a++, b++) {
    uint8_t byte = *a;
    *a = *b;
    *b = byte;
  }
}

static void sift(uint8_t *base, size_t root, size_t count, size_t size, int (*compare)(const void *, const void *)) {
  for (;;) {
    size_t child = 2 * root + 1;
    if (child >= count) return;
    if (child + 1 < count && compare(base + child * size, base + (child + 1) * size) < 0) child++;
    if (compare(base + root * size, base + child * size) >= 0) return;
    swap(base + root * size, base + child * size, size);
    root = child;
  }
}

void qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *)) {
  uint8_t *rows = base;
  for (size_t i = count / 2; i-- > 0;) sift(rows, i, count, size, compare);
  for (size_t end = count; end-- > 1;) {
    swap(rows, rows + end * size, size);
    sift(rows, 0, end, size, compare);
  }
}

// Formatting.

typedef struct {
  char *at;
  size_t room, length;
} out_t;

static void put(out_t *out, char c) {
  if (out->length + 1 < out->room) out->at[out->length] = c;
  out->length++;
}

static void put_number(out_t *out, unsigned long long n, unsigned base, int negative, int width, char fill) {
  char digits[24];
  int count = 0;
  do digits[count++] = "0123456789abcdef"[n % base];
  while (n /= base);
  if (negative && fill == '0') put(out, '-');
  for (int i = count + negative; i < width; i++) put(out, fill);
  if (negative && fill != '0') put(out, '-');
  while (count) put(out, digits[--count]);
}

int vsnprintf(char *to, size_t size, const char *format, va_list args) {
  out_t out = {to, size, 0};
  for (; *format; format++) {
    if (*format != '%') {
      put(&out, *format);
      continue;
    }
    char fill = ' ';
    int width = 0, precision = -1, longs = 0;
    if (*++format == '0') fill = *format++;
    while (*format >= '0' && *format <= '9') width = width * 10 + (*format++ - '0');
    if (*format == '.') {
      if (*++format == '*') {
        precision = va_arg(args, int);
        format++;
      } else {
        for (precision = 0; *format >= '0' && *format <= '9';) precision = precision * 10 + (*format++ - '0');
      }
    }
    for (; *format == 'l' || *format == 'z'; format++) longs += *format == 'l';
    switch (*format) {
      case 's': {
        const char *text = va_arg(args, const char *);
        for (int i = 0; (precision < 0 || i < precision) && text[i]; i++) put(&out, text[i]);
        break;
      }
      case 'c': put(&out, (char)va_arg(args, int)); break;
      case 'd':
      case 'i': {
        long long n = longs > 1 ? va_arg(args, long long) : va_arg(args, int);
        put_number(&out, n < 0 ? 0ull - (unsigned long long)n : (unsigned long long)n, 10, n < 0, width, fill);
        break;
      }
      case 'u':
      case 'x':
      case 'p': {
        unsigned long long n = longs > 1 ? va_arg(args, unsigned long long) : va_arg(args, unsigned);
        put_number(&out, n, *format == 'u' ? 10 : 16, 0, width, fill);
        break;
      }
      case 0: format--; break;
      default: put(&out, *format);
    }
  }
  if (size) to[out.length < size ? out.length : size - 1] = 0;
  return (int)out.length;
}

int snprintf(char *to, size_t size, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = vsnprintf(to, size, format, args);
  va_end(args);
  return length;
}
