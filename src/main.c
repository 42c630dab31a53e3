#include <stdio.h>

int main(void)
{
    printf("reel\n");
    return 0;
}
