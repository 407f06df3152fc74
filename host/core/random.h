/*
 * Counter-based random numbers: the n-th number of a stream depends on the stream's key and n
 * alone, so that results are the same whatever the order or the number of threads that draw them.
 */
#ifndef CRN_CORE_RANDOM_H
#define CRN_CORE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a of the text, 64 bits: a key from a name. */
uint64_t crn__hash_text(const char *text);

/* The n-th 64 bits of the stream: SplitMix64 (Steele, Lea, Flood 2014) with the key as its state.
 */
uint64_t crn__random_bits(uint64_t key, uint64_t n);

/* The same as a number in [0,1) with 53 bits. */
double crn__random_uniform(uint64_t key, uint64_t n);

#endif
