#include "clarinet/data.h"
#include "core/random.h"

/* Fisher and Yates. The remainder favours small numbers by count / 2^64, which is nothing. */
void crn_shuffle(uint64_t seed, uint64_t epoch, size_t *order, size_t count)
{
    uint64_t key = crn__random_bits(seed, epoch);
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)(crn__random_bits(key, i) % i), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}
