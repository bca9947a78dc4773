// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SluiceToken} from "../SluiceToken.sol";
import {IERC20Mintable} from "../interfaces/IERC20Mintable.sol";
import {TokenTest} from "../testing/TokenTest.t.sol";

contract ERC20MintableTest is TokenTest {
    function _setLimit(address of_, uint256 limit) private {
        vm.prank(admin);
        token.setMintLimit(of_, limit);
    }

    function _batch(uint256 size) private pure returns (address[] memory recipients, uint256[] memory amounts) {
        recipients = new address[](size);
        amounts = new uint256[](size);
        for (uint256 i = 0; i < size; ++i) (recipients[i], amounts[i]) = (address(uint160(0x1000 + i)), i + 1);
    }

    function testFuzzMintsUpToTheLimitAndSaysWhy(uint256 amount, bytes32 reason) public {
        amount = _bound(amount, 0, LIMIT);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(0), alice, amount);
        vm.expectEmit(address(token));
        emit IERC20Mintable.Minted(minter, alice, amount, reason, token.sequence() + 1);
        vm.prank(minter);
        token.mint(alice, amount, reason);

        vm.assertEq(token.balanceOf(alice), amount, "balance");
        vm.assertEq(token.totalSupply(), amount, "supply");
        vm.assertEq(token.mintableBy(minter), LIMIT - amount, "what the period leaves");
    }

    function testFuzzMoreThanThePeriodLeavesReverts(uint256 first, uint256 second) public {
        first = _bound(first, 0, LIMIT);
        second = _bound(second, LIMIT - first + 1, type(uint256).max);
        _mint(alice, first);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Mintable.MintLimitExceeded.selector, minter, second, LIMIT - first)
        );
        _mint(alice, second);
    }

    function testFuzzTheLimitIsFreshInTheNextPeriodAndNotBefore(uint256 used, uint256 wait) public {
        used = _bound(used, 1, 100 ether);
        _setLimit(minter, 100 ether);
        _mint(alice, used);
        wait = _bound(wait, 0, 3 * PERIOD);
        uint256 start = block.timestamp;
        vm.warp(start + wait);
        bool samePeriod = (start + wait) / PERIOD == start / PERIOD;
        vm.assertEq(token.mintableBy(minter), samePeriod ? 100 ether - used : 100 ether, "what is left");
    }

    function testTheLimitIsUsedUpToTheLastSecondOfThePeriod() public {
        _setLimit(minter, 10);
        vm.warp((block.timestamp / PERIOD + 1) * PERIOD - 1);
        _mint(alice, 10);
        vm.expectRevert(abi.encodeWithSelector(IERC20Mintable.MintLimitExceeded.selector, minter, 1, 0));
        _mint(alice, 1);
        vm.warp(block.timestamp + 1);
        _mint(alice, 10);
        vm.assertEq(token.balanceOf(alice), 20, "balance");
    }

    function testMintersDoNotShareALimit() public {
        bytes32 role = token.MINTER_ROLE();
        vm.prank(admin);
        token.grantRole(role, carol);
        _setLimit(carol, 5);
        _mint(alice, LIMIT);
        vm.prank(carol);
        token.mint(alice, 5, REASON);
        vm.assertEq(token.mintableBy(carol), 0, "carol's limit");
    }

    function testTheRoleAloneMintsNothing() public {
        bytes32 role = token.MINTER_ROLE();
        vm.prank(admin);
        token.grantRole(role, carol);
        vm.expectRevert(abi.encodeWithSelector(IERC20Mintable.MintLimitExceeded.selector, carol, 1, 0));
        vm.prank(carol);
        token.mint(alice, 1, REASON);
    }

    function testALimitBelowWhatIsMintedLeavesNothing() public {
        _mint(alice, 100);
        _setLimit(minter, 40);
        vm.assertEq(token.mintableBy(minter), 0, "what is left");
        _setLimit(minter, 130);
        vm.assertEq(token.mintableBy(minter), 30, "what is left");
    }

    function testFuzzOnlyMintersMint(address caller) public {
        bytes32 role = token.MINTER_ROLE();
        vm.assume(caller != minter);
        _setLimit(caller, LIMIT);
        bytes memory refused = abi.encodeWithSelector(
            IAccessControl.AccessControlUnauthorizedAccount.selector,
            caller,
            role
        );
        vm.expectRevert(refused);
        vm.prank(caller);
        token.mint(caller, 1, REASON);

        (address[] memory recipients, uint256[] memory amounts) = _batch(1);
        vm.expectRevert(refused);
        vm.prank(caller);
        token.mintBatch(recipients, amounts, REASON);
    }

    function testFuzzOnlyTheAdminSetsLimits(address caller) public {
        vm.assume(caller != admin);
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, bytes32(0))
        );
        vm.prank(caller);
        token.setMintLimit(caller, 1);
    }

    function testFuzzSettingALimitSaysWhoDidIt(address of_, uint104 limit) public {
        vm.expectEmit(address(token));
        emit IERC20Mintable.MintLimitChanged(of_, admin, limit, token.sequence() + 1);
        _setLimit(of_, limit);
        vm.assertEq(token.mintLimit(of_), limit, "limit");
        vm.assertEq(token.mintableBy(of_), limit, "what is left");
    }

    function testFuzzALimitThatDoesNotFitReverts(uint256 limit) public {
        limit = _bound(limit, uint256(type(uint104).max) + 1, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, uint8(104), limit));
        _setLimit(minter, limit);
    }

    function testFuzzTheCapIsReachedAndNotExceeded(uint256 first, uint256 excess) public {
        _setLimit(minter, type(uint104).max);
        first = _bound(first, 0, CAP);
        excess = _bound(excess, 1, type(uint96).max);
        _mint(alice, first);
        vm.expectRevert(abi.encodeWithSelector(ERC20Capped.ERC20ExceededCap.selector, CAP + excess, CAP));
        _mint(alice, CAP - first + excess);
        _mint(alice, CAP - first);
        vm.assertEq(token.totalSupply(), CAP, "supply");
    }

    function testFuzzABatchMintsWhatSingleMintsWould(uint256 size, uint256 seed) public {
        size = _bound(size, 1, 12);
        (address[] memory recipients, uint256[] memory amounts) = _batch(size);
        uint256 total = 0;
        for (uint256 i = 0; i < size; ++i) {
            amounts[i] = uint64(uint256(keccak256(abi.encode(seed, i))));
            total += amounts[i];
        }
        // Recipients may repeat.
        if (seed % 2 == 0) recipients[size - 1] = recipients[0];

        uint256 sequence = token.sequence();
        for (uint256 i = 0; i < size; ++i) {
            vm.expectEmit(address(token));
            emit IERC20.Transfer(address(0), recipients[i], amounts[i]);
            vm.expectEmit(address(token));
            emit IERC20Mintable.Minted(minter, recipients[i], amounts[i], REASON, sequence + 1 + i);
        }
        vm.prank(minter);
        token.mintBatch(recipients, amounts, REASON);

        vm.assertEq(token.totalSupply(), total, "supply");
        vm.assertEq(token.mintableBy(minter), LIMIT - total, "what the period leaves");
        vm.assertEq(token.sequence(), sequence + size, "sequence");
    }

    function testTheLargestBatchFitsATransaction() public {
        (address[] memory recipients, uint256[] memory amounts) = _batch(token.MAX_MINT_BATCH());
        vm.prank(minter);
        uint256 before = gasleft();
        token.mintBatch(recipients, amounts, REASON);
        vm.assertLe(before - gasleft(), 2 ** 24, "gas");
        vm.assertEq(token.balanceOf(recipients[199]), 200, "the last one's balance");
    }

    function testABatchThatIsTooLargeReverts() public {
        (address[] memory recipients, uint256[] memory amounts) = _batch(201);
        vm.expectRevert(abi.encodeWithSelector(IERC20Mintable.MintBatchSizeInvalid.selector, 201, 200));
        vm.prank(minter);
        token.mintBatch(recipients, amounts, REASON);
    }

    function testAnEmptyBatchReverts() public {
        (address[] memory recipients, uint256[] memory amounts) = _batch(0);
        vm.expectRevert(abi.encodeWithSelector(IERC20Mintable.MintBatchSizeInvalid.selector, 0, 200));
        vm.prank(minter);
        token.mintBatch(recipients, amounts, REASON);
    }

    function testABatchOfUnequalLengthsReverts() public {
        (address[] memory recipients, ) = _batch(2);
        (, uint256[] memory amounts) = _batch(3);
        vm.expectRevert(abi.encodeWithSelector(IERC20Mintable.MintBatchLengthMismatch.selector, 2, 3));
        vm.prank(minter);
        token.mintBatch(recipients, amounts, REASON);
    }

    function testABatchBeyondTheLimitMintsNothing() public {
        (address[] memory recipients, uint256[] memory amounts) = _batch(3);
        _setLimit(minter, 5);
        vm.expectRevert(abi.encodeWithSelector(IERC20Mintable.MintLimitExceeded.selector, minter, 6, 5));
        vm.prank(minter);
        token.mintBatch(recipients, amounts, REASON);
    }

    function testABatchWithABadRecipientMintsNothing() public {
        (address[] memory recipients, uint256[] memory amounts) = _batch(3);
        recipients[2] = address(0);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        vm.prank(minter);
        token.mintBatch(recipients, amounts, REASON);
        vm.assertEq(token.totalSupply(), 0, "supply");
        vm.assertEq(token.mintableBy(minter), LIMIT, "what the period leaves");
    }

    function testAPeriodOfNothingCannotBeDeployed() public {
        SluiceToken.Terms memory terms = _terms();
        terms.mintPeriod = 0;
        vm.expectRevert(abi.encodeWithSelector(IERC20Mintable.MintPeriodInvalid.selector, 0));
        _deploy(terms);
    }

    function testThePeriodIsWhatWasDeployed() public view {
        vm.assertEq(token.mintPeriod(), PERIOD, "period");
    }
}
