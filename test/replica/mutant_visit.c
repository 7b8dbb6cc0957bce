/* SPDX-License-Identifier: MIT */
#include "mutants.h"

#include "replica/visit.c"
