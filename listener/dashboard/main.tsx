import { render } from "preact";
import { follow } from "./core/live.ts";
import { followTheme } from "./core/theme.ts";
import { Page } from "./page.tsx";

followTheme();
follow();
render(<Page />, document.getElementById("page")!);
