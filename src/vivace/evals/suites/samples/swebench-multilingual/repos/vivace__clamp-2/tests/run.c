#include <stdio.h>
#include "../src/clamp.h"

#define CHECK(name, test) do { int ok = (test); failed += !ok; \
    printf("[ RUN      ] %s\n[ %s ] %s (0 ms)\n", name, ok ? "      OK" : " FAILED ", name); } while (0)

int main(void) {
    int failed = 0;
    CHECK("Clamp.Low", clamp(-3, 0, 9) == 0);
    CHECK("Clamp.Inside", clamp(4, 0, 9) == 4);
    return failed != 0;
}
