// What tests do to the simulated device.
#pragma once

#include <cstdint>

namespace manyfit {

// Of each device; 1 GiB at first. What is allocated stays.
void set_simulated_memory(int64_t bytes);
// Bytes allocated now, on all devices.
int64_t simulated_memory_used();
// Kernels launched so far, and bytes downloaded.
int64_t simulated_launches();
int64_t simulated_downloads();

}  // namespace manyfit
