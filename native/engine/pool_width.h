// pool_width: how many I/O workers are busy at once. Warm work is fastest with one worker a core,
// work that waits for disks with many more. Which of the two it is shows in the processors: workers
// that wait leave them unused.
#pragma once
#include <stdint.h>

// The width for the next while, from the processor time the process used in the last one: it
// doubles when under 70 % of the cores was used, and shrinks by one towards `cores` above 95 %.
// Pure.
uint32_t pool_width_next(uint32_t width, uint32_t cores, uint32_t most, uint64_t cpu_ns,
                         uint64_t wall_ns);
uint64_t pool_width_cpu_now(void);   // processor time of the process, nanoseconds
uint64_t pool_width_while_ns(void);  // how long one while is
