import vue from "eslint-plugin-vue";
import { defineConfig, globalIgnores } from "eslint/config";
import ts from "typescript-eslint";

export default defineConfig(
  globalIgnores(["**/dist/", "**/node_modules/", ".venv/", "var/", "**/*.d.ts", "**/*.py"]),
  ts.configs.strict,
  ts.configs.stylistic,
  vue.configs["flat/recommended"],
  {
    files: ["**/*.vue"],
    languageOptions: { parserOptions: { parser: ts.parser } },
  },
  {
    files: ["**/tests/**"],
    rules: { "max-lines-per-function": "off" }, // `describe` is a list of tests written as a function
  },
  {
    ignores: ["**/tests/**"],
    rules: { "max-lines-per-function": ["error", { max: 60, skipBlankLines: true, skipComments: true }] },
  },
  {
    rules: {
      "max-lines": ["error", { max: 500 }],
      complexity: ["error", 10],
      "no-console": "error",
      eqeqeq: ["error", "always", { null: "ignore" }],
      "vue/block-lang": ["error", { script: { lang: "ts" } }],
      "vue/component-api-style": ["error", ["script-setup"]],
      "vue/enforce-style-attribute": ["error", { allow: ["scoped"] }],
      "vue/no-v-html": "error",
      "vue/no-static-inline-styles": "error", // the content security policy would drop them
      // Layout is the editor's business; these would fight with it.
      "vue/html-indent": "off",
      "vue/html-self-closing": "off",
      "vue/max-attributes-per-line": "off",
      "vue/singleline-html-element-content-newline": "off",
      "vue/html-closing-bracket-newline": "off",
      "vue/multiline-html-element-content-newline": "off",
      "vue/require-default-prop": "off", // optional props are typed so
    },
  },
);
