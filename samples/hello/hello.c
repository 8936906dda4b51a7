// Greets once, then again every HELLO_SECONDS (default 60) for as long as its pod lives.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
  const char *whom = argc > 1 ? argv[1] : "world";
  const char *every = getenv("HELLO_SECONDS");
  unsigned seconds = every ? (unsigned)atoi(every) : 60;
  const char *pod = getenv("POD_NAME");

  for (unsigned long greeting = 1;; greeting++) {
    printf("hello, %s, from %s (%lu)\n", whom, pod ? pod : "nowhere in particular", greeting);
    fflush(stdout);
    sleep(seconds > 0 ? seconds : 1);
  }
}
