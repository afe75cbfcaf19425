// Prints the best CPU level of the machine that builds; fails when it has none.

#include <cstdio>

#include "core/cpu_level.h"

int main() {
  const auto levels = manyfit::supported_cpu_levels();
  if (levels.empty()) return 1;
  std::fputs(levels.back(), stdout);
  return 0;
}
