"use strict";
harnessReport.start();
