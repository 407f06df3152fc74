/* The table of optimizers. */
#ifndef CRN_OPTIM_TABLE_H
#define CRN_OPTIM_TABLE_H

#include "graph/step.h"

/* The row for an optimizer, or NULL with the reason in `error`. */
const crn__optimizer_row *crn__optimizer_find(const crn_optimizer *optimizer, crn_error *error);

#endif
