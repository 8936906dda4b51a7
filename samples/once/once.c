// Counts the primes below its first argument, says how many there are, and ends.
// Exit code: 0 when it counted, 2 when the argument is no number above one.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  char *end = NULL;
  long below = argc > 1 ? strtol(argv[1], &end, 10) : 100000;
  if (below < 2 || below > 100000000 || (end && *end)) {
    fprintf(stderr, "once: '%s' is not a number from 2 to 100000000\n", argv[1]);
    return 2;
  }
  char *composite = calloc((size_t)below, 1);
  if (!composite) {
    fprintf(stderr, "once: no memory for a sieve of %ld bytes\n", below);
    return 1;
  }
  long primes = 0;
  for (long n = 2; n < below; n++) {
    if (composite[n]) continue;
    primes++;
    for (long m = 2 * n; m < below; m += n) composite[m] = 1;
  }
  printf("%ld primes below %ld\n", primes, below);
  return 0;
}
