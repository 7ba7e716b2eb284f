// cmpdc.cjs LEFT RIGHT: the npm package dir-compare, by content, without its list of what it saw.
// Exit 0 when two files or two trees are equal, 1 when they differ.
const { statSync } = require("node:fs");
const { compare, fileCompareHandlers } = require("dir-compare");

const [, , left, right] = process.argv;

async function isEqual() {
  const status = statSync(left);
  if (status.isDirectory()) {
    const options = { compareContent: true, compareSize: true, noDiffSet: true };
    return (await compare(left, right, options)).same;
  }
  const { compareAsync } = fileCompareHandlers.defaultFileCompare;
  return compareAsync(left, status, right, statSync(right), {});
}

isEqual().then(
  (equal) => process.exit(equal ? 0 : 1),
  (error) => {
    console.error(error);
    process.exit(2);
  },
);
