/* tests/spec/spec_imports.h: the host module "spectest" that the standard's suite imports from. */
#ifndef SPEC_IMPORTS_H
#define SPEC_IMPORTS_H

#include "husk.h"

int spec_imports_new(husk_engine *engine, husk_imports **ret_imports, struct husk_error *err);

#endif
