#include "core/random.h"

uint64_t crn__hash_text(const char *text)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
        hash = (hash ^ *c) * 0x100000001B3u;
    return hash;
}

uint64_t crn__random_bits(uint64_t key, uint64_t n)
{
    uint64_t z = key + (n + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double crn__random_uniform(uint64_t key, uint64_t n)
{
    return (double)(crn__random_bits(key, n) >> 11) * 0x1p-53;
}
