#ifndef REEL_BASE_THREAD_H
#define REEL_BASE_THREAD_H

#include <pthread.h>

/** reel_thread_start - pthread_create for a thread to which no signal comes: they are for the main thread, and none cuts a system call
 * short here. Returns pthread_create's error, 0: started. Any thread; Local. */
int reel_thread_start(pthread_t *t, void *(*run)(void *ctx), void *ctx);

#endif
