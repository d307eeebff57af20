// Just enough JSON to read arguments: finds values in the text, and turns those that were asked for into C's types.

#include "windlass.h"

// How deep lists and objects may lie in one another.
#define DEEPEST 64

typedef struct {
  const char *at, *end;
} cursor_t;

static void blank(cursor_t *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static bool take(cursor_t *c, char what) {
  blank(c);
  if (c->at >= c->end || *c->at != what) return false;
  c->at++;
  return true;
}

// Passes a string, its first quote included.
static bool pass_string(cursor_t *c) {
  if (!take(c, '"')) return false;
  for (; c->at < c->end; c->at++) {
    if (*c->at == '"') {
      c->at++;
      return true;
    }
    if (*c->at == '\\') c->at++;
  }
  return false;
}

static bool pass(cursor_t *c, int depth) {
  blank(c);
  if (c->at >= c->end || depth > DEEPEST) return false;
  char open = *c->at;
  if (open == '"') return pass_string(c);
  if (open == '{' || open == '[') {
    char close = open == '{' ? '}' : ']';
    c->at++;
    if (take(c, close)) return true;
    do {
      if (open == '{' && !(pass_string(c) && take(c, ':'))) return false;
      if (!pass(c, depth + 1)) return false;
    } while (take(c, ','));
    return take(c, close);
  }
  const char *first = c->at;
  while (c->at < c->end && !strchr(",]} \n\t\r", *c->at)) c->at++;
  return c->at > first;
}

static text_t between(const char *first, const char *end) {
  return (text_t){(uint8_t *)first, (size_t)(end - first)};
}

// Adds a character in UTF-8.
static size_t encode(uint8_t *to, uint32_t c) {
  if (c < 0x80) {
    to[0] = (uint8_t)c;
    return 1;
  }
  size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static const uint8_t lead[] = {0, 0xC0, 0xE0, 0xF0};
  to[0] = (uint8_t)(lead[more] | (c >> (6 * more)));
  for (size_t i = 1; i <= more; i++) to[i] = (uint8_t)(0x80 | ((c >> (6 * (more - i))) & 0x3F));
  return more + 1;
}

static uint32_t hex(const uint8_t *at, const uint8_t *end) {
  uint32_t n = 0;
  for (int i = 0; i < 4 && at + i < end; i++) {
    uint8_t c = at[i];
    n = n << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
  }
  return n;
}

// A new text without quotes and escapes.
static text_t decode(text_t quoted) {
  const uint8_t *at = quoted.ptr + 1, *end = quoted.ptr + quoted.len - 1;
  uint8_t *made = malloc(quoted.len), *to = made;
  if (!made) abort();
  while (at < end) {
    if (*at != '\\') {
      *to++ = *at++;
      continue;
    }
    at++;
    uint8_t c = *at++;
    switch (c) {
      case 'n': *to++ = '\n'; break;
      case 't': *to++ = '\t'; break;
      case 'r': *to++ = '\r'; break;
      case 'b': *to++ = '\b'; break;
      case 'f': *to++ = '\f'; break;
      case 'u': {
        uint32_t code = hex(at, end);
        at += 4;
        bool pair = code >= 0xD800 && code < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u';
        if (pair) {
          code = 0x10000 + ((code - 0xD800) << 10) + (hex(at + 2, end) - 0xDC00);
          at += 6;
        }
        // Half a pair is no character.
        if (!pair && code >= 0xD800 && code < 0xE000) code = 0xFFFD;
        to += encode(to, code > 0x10FFFF ? 0xFFFD : code);
        break;
      }
      default: *to++ = c;
    }
  }
  return (text_t){made, (size_t)(to - made)};
}

bool json_raw(text_t json, const char *key, text_t *found) {
  cursor_t c = {(const char *)json.ptr, (const char *)json.ptr + json.len};
  blank(&c);
  if (!key) {
    const char *first = c.at;
    if (!pass(&c, 0)) return false;
    *found = between(first, c.at);
    return true;
  }
  if (!take(&c, '{')) return false;
  do {
    blank(&c);
    const char *name = c.at;
    if (!pass_string(&c)) return false;
    text_t known = decode(between(name, c.at));
    bool same = text_is(known, key);
    free(known.ptr);
    if (!take(&c, ':')) return false;
    blank(&c);
    const char *first = c.at;
    if (!pass(&c, 0)) return false;
    if (same) {
      *found = between(first, c.at);
      return true;
    }
  } while (take(&c, ','));
  return false;
}

bool json_item(text_t json, size_t n, text_t *found) {
  cursor_t c = {(const char *)json.ptr, (const char *)json.ptr + json.len};
  if (!take(&c, '[')) return false;
  do {
    blank(&c);
    const char *first = c.at;
    if (!pass(&c, 0)) return false;
    if (!n--) {
      *found = between(first, c.at);
      return true;
    }
  } while (take(&c, ','));
  return false;
}

bool json_text(text_t json, const char *key, text_t *found) {
  text_t raw;
  if (!json_raw(json, key, &raw) || raw.len < 2 || raw.ptr[0] != '"') return false;
  *found = decode(raw);
  return true;
}

bool json_integer(text_t json, const char *key, int64_t *found) {
  text_t raw;
  if (!json_raw(json, key, &raw) || !(raw.ptr[0] == '-' || (raw.ptr[0] >= '0' && raw.ptr[0] <= '9'))) return false;
  char *end, *number = text_c_string(raw);
  *found = strtoll(number, &end, 10);
  bool whole = *end == 0;
  free(number);
  return whole;
}

bool json_number(text_t json, const char *key, double *found) {
  text_t raw;
  if (!json_raw(json, key, &raw) || !(raw.ptr[0] == '-' || (raw.ptr[0] >= '0' && raw.ptr[0] <= '9'))) return false;
  const uint8_t *at = raw.ptr, *end = raw.ptr + raw.len;
  bool negative = *at == '-';
  double n = 0, scale = 1;
  int power = 0;
  for (at += negative; at < end && *at >= '0' && *at <= '9'; at++) n = n * 10 + (*at - '0');
  if (at < end && *at == '.')
    for (at++; at < end && *at >= '0' && *at <= '9'; at++) n += (*at - '0') * (scale /= 10);
  if (at < end && (*at | 32) == 'e') {
    char *exponent = text_c_string((text_t){(uint8_t *)at + 1, (size_t)(end - at - 1)});
    power = atoi(exponent);
    free(exponent);
  }
  for (; power > 0 && power < 400; power--) n *= 10;
  for (; power < 0 && power > -400; power++) n /= 10;
  *found = negative ? -n : n;
  return true;
}

bool json_boolean(text_t json, const char *key, bool *found) {
  text_t raw;
  if (!json_raw(json, key, &raw)) return false;
  *found = text_is(raw, "true");
  return *found || text_is(raw, "false");
}

text_t json_quoted(text_t plain) {
  uint8_t *made = malloc(plain.len * 6 + 8), *to = made;
  if (!made) abort();
  *to++ = '"';
  for (size_t i = 0; i < plain.len; i++) {
    uint8_t c = plain.ptr[i];
    if (c == '"' || c == '\\') {
      *to++ = '\\';
      *to++ = c;
    } else if (c < 0x20) {
      to += snprintf((char *)to, 7, "\\u%04x", c);
    } else {
      *to++ = c;
    }
  }
  *to++ = '"';
  return (text_t){made, (size_t)(to - made)};
}
