/* SPDX-License-Identifier: MIT */
#include <thrum/error.h>

#include <string.h>

const char *thrum_strerror(int code)
{
	switch (code) {
#define TEXT(name, number, text) \
	case name:               \
		return text;
		THRUM_ERROR_CODES(TEXT)
#undef TEXT
	default: {
		/* glibc's table of constant strings: no static buffer, no locale. */
		const char *text = code <= 0 ? strerrordesc_np(-code) : NULL;
		return text != NULL ? text : "unknown error";
	}
	}
}

const char *thrum_errname(int code)
{
	switch (code) {
#define NAME(name, number, text) \
	case name:               \
		return #name;
		THRUM_ERROR_CODES(NAME)
#undef NAME
	default: {
		const char *name = code <= 0 ? strerrorname_np(-code) : NULL;
		return name != NULL ? name : "EUNKNOWN";
	}
	}
}
