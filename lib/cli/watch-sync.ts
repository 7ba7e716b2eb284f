// copse watch-sync: a report of each round that did something, until it is interrupted.

import { watchSync, type Transfer, type WatchSyncEvent } from "../index.ts";
import type { Interruption } from "../signals.ts";
import type { Flags } from "./args.ts";
import { report, totalsOf, transferOptions } from "./copy.ts";
import { escapeText } from "./escape.ts";
import { inFrame } from "./frame.ts";
import { errorFields, toJson } from "./json.ts";
import { complain, print } from "./print.ts";
import { hideProgress } from "./progress.ts";
import { status } from "./status.ts";
import { isTerminal, paintFor } from "./terminal.ts";

export function runWatchSync(
  from: string,
  to: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  const { stopOnError, settle, maxWait, ...rest } = flags;
  hideProgress(); // it would stand among the reports
  return inFrame(rest, interruption, async (frame) => {
    const options = transferOptions(frame, rest);
    const paint = await paintFor(await isTerminal(1));
    const places = await frame.places(from, to);
    const events = watchSync(...places, {
      ...options,
      ...(typeof settle === "number" && { settle }),
      ...(typeof maxWait === "number" && { maxWait }),
      ...(stopOnError === true && { onError: "stop" }),
    });
    for await (const event of events) {
      if (flags["jsonl"]) await print([`${toJson(jsonOf(event))}\n`]);
      else if (event.kind === "failed") complain(escapeText(event.error.message));
      else if (flags["quiet"] === true) complainOf(event.transfer);
      else await print(report(event.transfer, { isAll: true, isPlan: false, paint }));
    }
    return interruption.status ?? status.equal;
  });
}

function complainOf(transfer: Transfer): void {
  if (transfer.errors === 0) return; // rows are made for who asks for them
  for (const action of transfer.actions)
    if (action.kind === "error") complain(escapeText(action.error.message));
}

function jsonOf(event: WatchSyncEvent): object {
  if (event.kind === "failed") return { kind: "failed", error: errorFields(event.error) };
  const { transfer } = event;
  return { kind: "synced", ...totalsOf(transfer), actions: transfer.actions };
}
