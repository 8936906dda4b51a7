// Writes numbered lines, every tenth of them to stderr: CHATTY_LINES of them (0: without end), CHATTY_PER_SECOND a second
// (0: as fast as it can), each padded to CHATTY_BYTES.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static unsigned long setting(const char *name, unsigned long otherwise) {
  const char *text = getenv(name);
  return text ? strtoul(text, NULL, 10) : otherwise;
}

int main(void) {
  unsigned long lines = setting("CHATTY_LINES", 0);
  unsigned long per_second = setting("CHATTY_PER_SECOND", 10);
  unsigned long bytes = setting("CHATTY_BYTES", 64);
  if (bytes > 4096) bytes = 4096;
  char line[4097];

  for (unsigned long n = 1; lines == 0 || n <= lines; n++) {
    int length = snprintf(line, sizeof line, "line %lu at %ld", n, (long)time(NULL));
    while ((unsigned long)length + 1 < bytes) line[length++] = '.';
    line[length] = '\0';
    FILE *out = n % 10 == 0 ? stderr : stdout;
    fprintf(out, "%s\n", line);
    fflush(out);
    if (per_second > 0) usleep((useconds_t)(1000000 / per_second));
  }
  return 0;
}
