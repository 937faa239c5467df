/** Finding a department without typing Chinese: by the first letters of its pinyin. */
import type { Department } from "../../platform/types";

/** The letters that lead somewhere, in order. */
export function lettersOf(departments: readonly Department[]): string[] {
  return [...new Set(departments.map(initialOf))].filter((letter) => letter !== "").sort();
}

/** Departments with slots first, each group in the order of the hospital. */
export function found(departments: readonly Department[], letter: string | null): Department[] {
  const chosen = letter === null ? departments : departments.filter((one) => initialOf(one) === letter);
  return [...chosen].sort((one, other) => Number(other.has_slots) - Number(one.has_slots));
}

function initialOf(department: Department): string {
  const letter = department.pinyin.trim().charAt(0).toUpperCase();
  return /[A-Z]/.test(letter) ? letter : "";
}
