/* SPDX-License-Identifier: MIT */
#include "mutants.h"

#include "replica/visit.c"
#include "replica/visit_close.c"
#include "replica/visit_commit.c"
#include "replica/visit_resolve.c"
