/** The exit statuses, as diff and cmp have them; a signal adds its number to 128. */
export const status = {
  equal: 0,
  different: 1,
  trouble: 2,
  interrupted: 130,
  terminated: 143,
} as const;
