#ifndef REEL_TESTS_CUDA_SIMT_CLEAN_H
#define REEL_TESTS_CUDA_SIMT_CLEAN_H

/* Launches of the kernels of simt_clean.cu; pointers are device memory. */
void clean_multiply(const void *a, const void *b, float *c, int m, int n, int k, int b_kn);
void clean_number(float *out);
void clean_shuffle(float *out);
void clean_vote(float *out);
void clean_tree(float *out);
void clean_hand_over(float *out);
void clean_count(int *n, unsigned *most);

#endif
