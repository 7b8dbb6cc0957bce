/* SPDX-License-Identifier: MIT */
/* Codes and their texts. */
#include <errno.h>
#include <stdio.h>
#include <thrum.h>

int main(void)
{
	static const int codes[] = {0, -ETIMEDOUT, THRUM_EEOF, -4321};
	for (int i = 0; i < 4; i++) {
		int code = codes[i];
		printf("%s: %s\n", thrum_errname(code), thrum_strerror(code));
	}
	return 0;
}
