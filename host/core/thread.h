/* Threads of the library's own. */
#ifndef CRN_CORE_THREAD_H
#define CRN_CORE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Starts a thread that no signal is delivered to: they are for the program's own threads. false:
 * there is none. */
bool crn__thread_start(pthread_t *thread, void *(*run)(void *), void *data);

/*
 * Calls work(data, begin, end) for ranges that make up [0,count), at once on as many threads as
 * there are processors, each range at least `least` long. Ranges are disjoint; which they are must
 * not matter. Returns when all is done.
 */
void crn__parallel_for(size_t count, size_t least, void (*work)(void *, size_t, size_t),
                       void *data);

#endif
