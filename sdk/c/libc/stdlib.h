// Memory and the end of it. There is no process, no environment and no file here.
#ifndef WINDLASS_STDLIB_H
#define WINDLASS_STDLIB_H

#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *old, size_t size);

// What malloc did not make, a literal for example, is left alone.
void free(void *old);

// Traps: the call ends, and whoever operates the host reads of it.
_Noreturn void abort(void);

int abs(int n);
long strtol(const char *text, char **end, int base);
long long strtoll(const char *text, char **end, int base);
int atoi(const char *text);
void qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *));

#endif
