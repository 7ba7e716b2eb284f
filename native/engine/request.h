// request: what a request record may say. copse.h lists the keys; here are their kinds and bounds,
// checked before anything is started, so that a verb finds only values it knows.
#pragma once
#include "base/fault.h"
#include "base/span.h"

// ARGUMENT naming the option for a malformed record, an unknown key, a key of another verb, a wrong
// kind, a value out of range or a key that is there twice and may not be. The verb itself is not
// judged.
int32_t request_check(span request, struct fault *fault);
