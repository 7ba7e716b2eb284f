// Removes what prepack.mjs made, so that the checkout uses its own build again.

import { removePacked } from "./packed.mjs";
import { main } from "./tools.mjs";

main(removePacked);
