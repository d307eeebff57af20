// Text with numbers in it. There are no files: what a plugin has to say goes to a log of its build or of its host.
#ifndef WINDLASS_STDIO_H
#define WINDLASS_STDIO_H

#include <stdarg.h>
#include <stddef.h>

// Known: %s %.*s %c %d %i %u %x %ld %lu %lld %llu %zu %p %%, a width and a leading 0.
int snprintf(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *to, size_t size, const char *format, va_list args);

#endif
